"""Who may call what, judged in the thread, and what a page learns of it."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import Group, User
from django.contrib.sessions.models import Session
from django.core.exceptions import PermissionDenied
from django.http import Http404
from django.shortcuts import get_object_or_404
from django.test import override_settings

from livepush.daemon.entitlement import Snapshot
from livepush.daemon.errors import LoggedOut, Refusal
from livepush.daemon.reader import Reader
from livepush.daemon.receiver import Receiver
from livepush.django import Audience, CallRefused, Channel, publication
from livepush.django.channels import Registry
from livepush.django.outlet import Outlet
from livepush.wire.requests import Call
from tests.cases import CommittedCase
from tests.recorder import Recorder
from tests.unit.daemon import site_doubles
from tests.unit.daemon.site_doubles import grant, login, make_settings


def make_registry(publish: Any = None) -> Registry:
    """groups for who may add them, rooms.{room} for the owner of the name, lobby for all."""
    registry = Registry()

    class Groups(Channel, registry=registry):
        name = "groups"
        audiences = [Audience("member", perm="auth.add_group")]

        def receive(self, user: Any, type: str, data: Any, **args: str) -> Any:  # noqa: A002
            match type:
                case "make":
                    group = Group.objects.create(name=data["name"])
                    publish("groups", "made", {"group": group.pk}, skip=self.caller)
                    return {"group": group.pk}
                case "rename":
                    user.first_name = data["name"]
                    user.save()
                    return {"database": user._state.db}
                case "refuse":
                    raise CallRefused("No.", "closed")
                case "deny":
                    raise PermissionDenied("a secret")
                case "missing":
                    get_object_or_404(Group, name="a secret")
                case "gone":
                    Group.objects.get(name="a secret")
                case "bad":
                    return {"answer": object()}
                case "coded":
                    raise CallRefused("No.", "Not a code")
                case "exit":
                    raise SystemExit(3)
            raise RuntimeError("a fault in the site")

    class Rooms(Channel, registry=registry):
        name = "rooms.{room}"
        audiences = [Audience("member")]

        def allows(self, user: Any, room: str) -> bool:  # type: ignore[override]
            return bool(user.get_username() == room)

        def receive(self, user: Any, type: str, data: Any, room: str) -> Any:  # type: ignore[override] # noqa: A002
            return {"room": room}

    class Lobby(Channel, registry=registry):
        name = "lobby"
        audiences = [Audience("all")]

    return registry


class ReceiverTests(CommittedCase):
    """`Receiver.perform`, in this thread."""

    def setUp(self) -> None:
        super().setUp()
        self.recorder = Recorder()
        self.outlet = Outlet(lambda: self.recorder)
        self.registry = make_registry(self.publish)
        self.anna = User.objects.create_user("anna", password="pw")
        grant(self.anna, "add_group")
        self.snapshot = self.look_up()

    def publish(self, *args: Any, **more: Any) -> object:
        return publication.Publishing(self.registry, self.outlet).publish(*args, **more)

    def look_up(self, **changes: Any) -> Snapshot:
        found = Reader(make_settings(**changes), self.registry).identify(login(self.anna))
        assert found is not None
        return found

    def call(self, channel: str, type: str, **data: Any) -> Any:  # noqa: A002
        receiver = Receiver(make_settings(), self.registry, self.outlet)
        return receiver.perform(self.snapshot, "k3f9", Call(1, channel, type, data))

    def refused(self, channel: str, type: str = "x", **data: Any) -> tuple[str, str]:  # noqa: A002
        error = self.assertRaises(Refusal, self.call, channel, type, **data)
        self.assertNotIn("secret", error.message)
        return error.code, error.message

    def test_writes_and_publishes(self) -> None:
        """It writes, and publishes to all but the tab that called."""
        answer = self.call("groups", "make", name="new")
        self.assertEqual(answer, {"group": Group.objects.get(name="new").pk})
        (body,) = self.recorder.bodies
        self.assertEqual(body["data"], answer)
        self.assertEqual(body["skip"], {"user": str(self.anna.pk), "tab": "k3f9"})

    def test_user_can_be_saved(self) -> None:
        """The user is read where the site writes him, whatever database look-ups use."""
        self.use_database("reading", NAME=f"file:{self.database}?mode=ro")
        receiver = Receiver(make_settings(database="reading"), self.registry, self.outlet)
        answer = receiver.perform(self.snapshot, None, Call(1, "groups", "rename", {"name": "Anna"}))
        self.assertEqual(answer, {"database": "default"})
        self.anna.refresh_from_db()
        self.assertEqual(self.anna.first_name, "Anna")

    def test_not_entitled(self) -> None:
        """A channel that he may not listen to, one that is not there and another's own are told alike."""
        channels = ("rooms.boris", "nope", f"user.{self.anna.pk + 1}")
        self.assertEqual({self.refused(channel)[0] for channel in channels}, {"forbidden"})
        self.assertEqual(self.call("rooms.anna", "x"), {"room": "anna"})

    def test_judged_anew(self) -> None:
        """A right that was taken away since the connection was made is away."""
        self.anna.user_permissions.clear()
        self.assertEqual(self.refused("groups", "make", name="new")[0], "forbidden")
        self.assertFalse(Group.objects.exists())

    def test_logged_out(self) -> None:
        """A login that has ended calls nothing, on whichever way it ended."""
        Session.objects.all().delete()
        self.assertRaises(LoggedOut, self.call, "groups", "make", name="new")
        self.snapshot = self.look_up()
        self.anna.set_password("other")
        self.anna.save()
        self.assertRaises(LoggedOut, self.call, "groups", "make", name="new")
        self.snapshot = self.look_up()
        User.objects.update(is_active=False)
        self.assertRaises(LoggedOut, self.call, "groups", "make", name="new")
        self.assertFalse(Group.objects.exists())

    def test_no_receiver(self) -> None:
        """A channel without a receiver takes no calls; nor does a user's own."""
        for channel in ("lobby", f"user.{self.anna.pk}"):
            self.assertEqual(self.refused(channel)[0], "not_found")

    def test_refusals(self) -> None:
        """The site's own words reach the page; of Django's exceptions only what they mean."""
        self.assertEqual(self.refused("groups", "refuse"), ("closed", "No."))
        self.assertEqual(self.refused("groups", "deny")[0], "forbidden")
        self.assertEqual(self.refused("groups", "missing")[0], "not_found")
        self.assertEqual(self.flushLoggedErrors(PermissionDenied, Http404), [])

    def test_faults(self) -> None:
        """Anything else is `failed`, and logged without what the page sent."""
        for type_ in ("gone", "bad", "coded", "make", "exit", "nonsense"):
            self.assertEqual(self.refused("groups", type_, title="s3cret")[0], "failed")
        failures = self.flushLoggedErrors()
        self.assertEqual(len(failures), 6)
        self.assertNotIn("s3cret", "".join(failure.getTraceback() for failure in failures))

    def test_backend_away(self) -> None:
        """Where the user can't be looked up, the page may try again."""
        with override_settings(AUTHENTICATION_BACKENDS=[f"{site_doubles.__name__}.FailingBackend"]):
            self.snapshot = Snapshot(str(self.anna.pk), 1, None, "x", frozenset(), False, True)
            error = self.assertRaises(Refusal, self.call, "groups", "make", name="new")
        self.assertEqual((error.code, error.retry), ("busy", True))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_end(self) -> None:
        """The end waits for what was published, and makes no publisher where there is none."""
        receiver = Receiver(make_settings(), self.registry, Outlet(lambda: self.fail("made")))
        receiver.end()
