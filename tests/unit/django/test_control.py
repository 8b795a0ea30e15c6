"""Daemons are told that what Django knows of a user may have changed."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.db import transaction
from django.test import override_settings

from livepush.broker.envelope import Kind, session_hash
from livepush.broker.errors import BadName, Refused, Unroutable
from livepush.django.control import Controls
from livepush.django.errors import UndeclaredChannel
from livepush.django.outlet import Outlet
from livepush.django.publication import failures
from livepush.django.signals import publication_failed
from tests.cases import CommittedCase
from tests.recorder import Recorder
from tests.unit.django.doubles import make_publishing


class Rollback(Exception):
    """Ends a transaction."""


class IdentityTests(CommittedCase):
    def setUp(self) -> None:
        super().setUp()
        publishing, self.recorder = make_publishing()
        self.publish = publishing.publish
        self.changed = Controls(Outlet(lambda: self.recorder)).identity_changed

    @property
    def users(self) -> list[str | None]:
        """Whom the control messages concern, in order."""
        pairs = zip(self.recorder.drafts, self.recorder.bodies, strict=True)
        return [body["user"] for draft, body in pairs if draft.kind is Kind.CONTROL]

    def test_whom(self) -> None:
        """A user, a primary key, or anybody; of a visitor without a name nothing is known."""
        user = get_user_model()(pk=7)
        for each in (user, 8, "a-b", None, AnonymousUser()):
            self.changed(each)
        self.assertEqual(self.users, ["7", "8", "a-b", None])
        self.assertEqual(self.recorder.drafts[0].key, "control.identity")

    def test_at_the_commit(self) -> None:
        """What a daemon then reads is committed; a rollback tells nobody."""
        with transaction.atomic():
            self.changed(1)
            self.assertEqual(self.users, [])
        self.assertEqual(self.users, ["1"])
        with self.assertRaises(Rollback), transaction.atomic():
            self.changed(2)
            raise Rollback
        self.assertEqual(self.users, ["1"])

    def test_in_its_place(self) -> None:
        """Groups are removed and an event is published in one transaction: the event follows the control message."""
        with transaction.atomic():
            self.publish("orders", "before", {})
            self.changed(1)
            self.publish("orders", "after", {})
        kinds = [draft.kind for draft in self.recorder.drafts]
        self.assertEqual(kinds, [Kind.EVENT, Kind.CONTROL, Kind.EVENT])

    def test_many_in_a_row(self) -> None:
        """A thousand changes are one hook, each user once; anybody stands for all."""
        with transaction.atomic():
            for number in range(1000):
                self.changed(number % 3)
            self.assertEqual(len(transaction.get_connection().run_on_commit), 1)
        self.assertEqual(self.users, ["0", "1", "2"])
        with transaction.atomic():
            for each in (4, None, 5):
                self.changed(each)
        self.assertEqual(self.users[3:], [None])

    def test_savepoint(self) -> None:
        """One that is rolled back with an inner block takes no other with it."""
        with transaction.atomic():
            self.changed(1)
            with self.assertRaises(Rollback), transaction.atomic():
                self.changed(2)
                raise Rollback
            self.changed(2)
            with transaction.atomic():
                self.changed(3)
            self.changed(4)
        self.assertEqual(sorted(map(str, self.users)), ["1", "2", "3", "4"])

    def test_rolled_back_inside(self) -> None:
        """What an inner block takes back is not told with what the outer one commits."""
        with transaction.atomic():
            self.changed(1)
            with self.assertRaises(Rollback), transaction.atomic():
                self.changed(2)
                raise Rollback
        self.assertEqual(self.users, ["1"])

    def test_another_database(self) -> None:
        """`using` says whose commit is waited for."""
        with transaction.atomic():
            self.changed(1, using="other")
            self.assertEqual(self.users, ["1"])


class RevokeTests(CommittedCase):
    """What Django does not see, the site says."""

    def setUp(self) -> None:
        super().setUp()
        publishing, self.recorder = make_publishing()
        self.controls = Controls(Outlet(lambda: self.recorder), publishing._registry)

    def test_revoke(self) -> None:
        """A user's, or everybody's, place in one channel; a visitor without a name has none."""
        for user in (get_user_model()(pk=7), 8, None, AnonymousUser()):
            self.controls.revoke(user, "rooms.5")
        told = [{"what": "revoke", "user": user, "channel": "rooms.5"} for user in ("7", "8", None)]
        self.assertEqual((self.recorder.bodies, self.recorder.drafts[0].key), (told, "control.revoke"))
        self.controls.revoke(7, "user.7")

    def test_no_channel(self) -> None:
        """A name that is none, or that nobody declares, is refused where it is written."""
        self.assertRaises(BadName, self.controls.revoke, None, "#")
        self.assertRaises(UndeclaredChannel, self.controls.revoke, None, "romms.5")
        self.assertEqual(self.recorder.drafts, [])

    def test_disconnect(self) -> None:
        """A user, or a session, whose key is not sent."""
        self.controls.disconnect(get_user_model()(pk=7), "moved")
        self.controls.disconnect("a-session-key")
        user, session = self.recorder.bodies
        self.assertEqual(user, {"what": "disconnect", "user": "7", "session": None, "why": "moved"})
        self.assertEqual((session["user"], session["session"]), (None, session_hash("a-session-key")))
        self.assertNotIn(b"a-session-key", self.recorder.drafts[1].body)

    def test_nobody_to_disconnect(self) -> None:
        """A primary key may be a session's key by mistake; what can't be told apart is refused."""
        for wrong in (7, None, object()):
            self.assertRaises(TypeError, self.controls.disconnect, wrong)
        for whom in (get_user_model()(), AnonymousUser(), ""):
            self.assertRaises(ValueError, self.controls.disconnect, whom)
        for why in ("\n", "ä" * 61, 7):
            self.assertRaises(ValueError, self.controls.disconnect, "a-session-key", why)
        with override_settings(SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies"):
            self.assertRaises(ValueError, self.controls.disconnect, "a-session-key")

    def test_at_the_commit(self) -> None:
        """All in one hook; what a look at everybody finds out is not told twice, a `disconnect` is never left out."""
        with transaction.atomic():
            self.controls.disconnect(get_user_model()(pk=7))
            self.controls.identity_changed(8)
            self.controls.revoke(8, "rooms.5")
            self.controls.identity_changed()
            self.assertEqual(self.recorder.drafts, [])
        self.assertEqual([body["what"] for body in self.recorder.bodies], ["identity", "disconnect", "revoke"])
        self.assertIsNone(self.recorder.bodies[0]["user"])


class FailureTests(CommittedCase):
    def setUp(self) -> None:
        super().setUp()
        self.recorder = Recorder()
        self.changed = Controls(Outlet(lambda: self.recorder)).identity_changed
        self.seen: list[tuple[Any, Exception]] = []
        publication_failed.connect(self.receive)
        self.addCleanup(publication_failed.disconnect, self.receive)

    def receive(self, publication: Any, error: Exception, **_: Any) -> None:
        self.seen.append((publication.user, error))

    def test_refused(self) -> None:
        """It is counted and signalled: somebody may go on to see what he must not."""
        before = failures.counts.get("Refused", 0)
        self.changed(5)
        self.recorder.tickets[0].set_exception(Refused("403"))
        self.assertEqual([(user, type(error)) for user, error in self.seen], [("5", Refused)])
        self.assertEqual(failures.counts["Refused"], before + 1)

    def test_nobody_there(self) -> None:
        """No daemon, no connection to be suspended: that is no failure."""
        self.changed(5)
        self.recorder.tickets[0].set_exception(Unroutable("nobody"))
        self.assertEqual(self.seen, [])

    def test_told_once(self) -> None:
        """Two that became one are one failure."""
        self.changed(5)
        same = self.recorder.tickets[0]
        self.recorder.publish = lambda *_: same  # type: ignore[method-assign] # as a publisher does while it waits
        self.changed(5)
        same.set_exception(Refused("403"))
        self.assertEqual(len(self.seen), 1)
