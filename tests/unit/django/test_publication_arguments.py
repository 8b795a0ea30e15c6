"""What can be published, and what is refused at the call."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, time
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID

from django.contrib.auth.models import AnonymousUser, User
from django.utils.functional import SimpleLazyObject
from django.utils.translation import gettext_lazy
from twisted.trial.unittest import SynchronousTestCase

from livepush.broker.envelope import Kind
from livepush.broker.errors import BadName, BadPayload
from livepush.django.channels import user_channel
from livepush.django.errors import UndeclaredChannel, UnknownAudience
from livepush.django.publication import publish
from tests.unit.django.doubles import make_publishing


class Boom(Exception):
    """Raised by a view that must not be called."""


def boom() -> None:
    raise Boom


class ArgumentTests(SynchronousTestCase):
    """What is published, and what is refused at the call."""

    def setUp(self) -> None:
        publishing, self.recorder = make_publishing()
        self.publish = publishing.publish
        self.user = User(pk=7, username="anna")

    def refused(self, kind: type[Exception], *words: str, call: Callable[[], object]) -> None:
        """The call raises, naming these words, and nothing is published."""
        error = self.assertRaises(kind, call)
        for word in words:
            self.assertIn(word, str(error))
        self.assertEqual(self.recorder.drafts, [])

    def test_flags(self) -> None:
        """What is neither True nor False is refused: "no" would count as a yes."""
        for name in ("durable", "live"):
            for value in ("yes", "no", 1, 0, None):
                flag: dict[str, Any] = {name: value}
                call = partial(self.publish, "orders", "done", {}, **flag)
                self.refused(TypeError, f"{name}: must be True or False, not {type(value).__name__}", call=call)

    def test_skip(self) -> None:
        """What is neither a request nor a user can't be left out."""
        for value in (object(), 7, "anna"):
            call = partial(self.publish, "orders", "done", {}, skip=value)
            self.refused(TypeError, f"skip: must be a request or a user, not {type(value).__name__}", call=call)

    def test_whole_event(self) -> None:
        """All that was said stands in the body; the key is made of channel and type."""
        self.publish(
            "orders",
            "done",
            {"order": 5},
            views={"moderator": {"action": "highlight"}, "client": None},
            only=["client", self.user],
            skip=self.user,
            key=5,
            version=3,
        )
        draft = self.recorder.drafts[0]
        self.assertEqual((draft.kind, draft.key, draft.channel), (Kind.EVENT, "event.orders.done", "orders"))
        self.assertEqual(
            self.recorder.bodies[0],
            {
                "channel": "orders",
                "type": "done",
                "data": {"order": 5},
                "views": {"moderator": {"action": "highlight"}, "client": None},
                "only": {"audiences": ["client"], "users": ["7"]},
                "skip": {"user": "7", "tab": None},
                "key": "5",
                "version": 3,
            },
        )

    def test_live(self) -> None:
        """A live event has the other kind and key, and no id."""
        publication = self.publish("rooms.5", "typing", {}, live=True)
        self.recorder.confirm()
        draft = self.recorder.drafts[0]
        self.assertEqual((draft.kind, draft.key), (Kind.LIVE, "live.rooms.5.typing"))
        self.assertIsNone(publication.result(0))

    def test_personal_channel(self) -> None:
        """Every user's own channel can be published to without a declaration."""
        self.publish(user_channel(self.user), "note", {"text": "hello"})
        self.publish(user_channel("a@b"), "note", {})
        self.assertEqual(self.recorder.drafts[0].key, "event.user.7.note")
        self.assertTrue(self.recorder.drafts[1].channel.startswith("user.~"))

    def test_personal_channel_has_no_audiences(self) -> None:
        """Views and `only` on a personal channel are a mistake."""
        self.refused(ValueError, "user.7", call=lambda: self.publish("user.7", "note", {}, views={"client": {}}))
        self.refused(ValueError, "user.7", call=lambda: self.publish("user.7", "note", {}, only=self.user))

    def test_django_values(self) -> None:
        """Dates, decimals, UUIDs and lazy texts are encoded as Django does."""
        self.publish(
            "orders",
            "x",
            {"on": date(2026, 1, 2), "sum": Decimal("1.50"), "id": UUID(int=1), "text": gettext_lazy("Yes")},
        )
        data = self.recorder.bodies[0]["data"]
        self.assertEqual(data, {"on": "2026-01-02", "sum": "1.50", "id": str(UUID(int=1)), "text": "Yes"})

    def test_encoded_at_the_call(self) -> None:
        """What happens to the dict later does not change the event."""
        data = {"order": 1}
        self.publish("orders", "x", data)
        data["order"] = 2
        self.assertEqual(self.recorder.bodies[0]["data"], {"order": 1})

    def test_views_called_once(self) -> None:
        """A view given as a callable is called once, now."""
        calls: list[int] = []

        def view() -> dict[str, Any]:
            calls.append(1)
            return {"html": "<b>"}

        self.publish("orders", "x", {}, views={"client": view, "moderator": lambda: None})
        self.assertEqual(
            (calls, self.recorder.bodies[0]["views"]), ([1], {"client": {"html": "<b>"}, "moderator": None})
        )

    def test_views_not_called_when_refused(self) -> None:
        """A wrong audience is found before any view is rendered."""
        self.refused(
            UnknownAudience,
            "'guest'",
            "moderator, client",
            call=lambda: self.publish("orders", "x", {}, views={"client": boom, "guest": {}}),
        )

    def test_only_forms(self) -> None:
        """`only` takes one audience or user, or several mixed."""
        for only, audiences, users in (
            ("client", ["client"], []),
            (self.user, [], ["7"]),
            (SimpleLazyObject(lambda: self.user), [], ["7"]),
            ({"client"}, ["client"], []),
            ((each for each in ("moderator", self.user)), ["moderator"], ["7"]),
            ([], [], []),
        ):
            self.publish("orders", "x", {}, only=only)
            self.assertEqual(self.recorder.bodies[-1]["only"], {"audiences": audiences, "users": users})

    def test_only_refused(self) -> None:
        """What is neither an audience of the channel nor a saved user is refused."""
        self.refused(UnknownAudience, "'guest'", call=lambda: self.publish("orders", "x", {}, only="guest"))
        self.refused(TypeError, "only", "int", call=lambda: self.publish("orders", "x", {}, only=[7]))
        self.refused(ValueError, "anonymous", call=lambda: self.publish("orders", "x", {}, only=AnonymousUser()))
        self.refused(ValueError, "no pk", call=lambda: self.publish("orders", "x", {}, only=[User(username="new")]))

    def test_bad_names(self) -> None:
        """Names outside the grammar are refused with the name."""
        for channel in ("", "#", "*", "orders.#", "a..b", "orders ", "é", "x" * 300, 5, None):
            self.refused(BadName, "channel", call=lambda channel=channel: self.publish(channel, "x", {}))  # type: ignore[misc]
        for name in ("", "a b", "x" * 61, None):
            self.refused(BadName, "event type", call=lambda name=name: self.publish("orders", name, {}))  # type: ignore[misc]

    def test_undeclared(self) -> None:
        """A channel that nobody declared is refused, with those that are and where to declare it."""
        self.refused(
            UndeclaredChannel,
            "'order'",
            "orders, rooms.{room}",
            "push.py",
            call=lambda: self.publish("order", "x", {}),
        )
        self.refused(UndeclaredChannel, call=lambda: self.publish("rooms", "x", {}))
        self.refused(UndeclaredChannel, call=lambda: self.publish("rooms.1.2", "x", {}))

    def test_not_json(self) -> None:
        """What JSON can't hold is refused, naming the place."""
        for value, word in (
            (float("nan"), "nan"),
            (float("inf"), "inf"),
            (self.user, "User"),
            (User.objects.all(), "QuerySet"),
            ({1: 2}, "1"),
            (object(), "object"),
            ("\ud800", "surrogate"),
            (time(1, tzinfo=UTC), "time"),
            ({1, 2}, "set"),
            (b"x", "bytes"),
        ):
            self.refused(
                BadPayload,
                "data['order']['x']",
                word,
                call=lambda value=value: self.publish("orders", "x", {"order": {"x": value}}),  # type: ignore[misc]
            )
            self.refused(
                BadPayload,
                "views['client']['x']",
                call=lambda value=value: self.publish("orders", "x", {}, views={"client": {"x": value}}),  # type: ignore[misc]
            )

    def test_deep_and_circular(self) -> None:
        """A structure without end is refused, not followed."""
        loop: dict[str, Any] = {}
        loop["again"] = loop
        self.refused(BadPayload, "nested", call=lambda: self.publish("orders", "x", loop))

    def test_too_large(self) -> None:
        """Over 256 KiB, all views counted, is refused with the size."""
        half = {"text": "x" * 140_000}
        self.refused(BadPayload, "262144", call=lambda: self.publish("orders", "x", half, views={"client": half}))
        self.publish("orders", "x", half)

    def test_data_is_a_dict(self) -> None:
        """Data and views must be dicts."""
        for data in ([1], "x", None, 5):
            self.refused(BadPayload, "data", call=lambda data=data: self.publish("orders", "x", data))  # type: ignore[misc]
        self.refused(BadPayload, "views['client']", call=lambda: self.publish("orders", "x", {}, views={"client": [1]}))  # type: ignore[dict-item]
        self.refused(TypeError, "views", call=lambda: self.publish("orders", "x", {}, views=["client"]))  # type: ignore[arg-type]

    def test_bad_key_and_version(self) -> None:
        """Keys are short texts; versions are whole numbers, with a key."""
        for key in ("", "x" * 181, "a\nb", 1.5, True, b"x"):
            self.refused(ValueError, "key", call=lambda key=key: self.publish("orders", "x", {}, key=key))  # type: ignore[misc]
        for version in (-1, 2**63, 1.5, True, "1"):
            self.refused(
                ValueError,
                "version",
                call=lambda version=version: self.publish("orders", "x", {}, key="a", version=version),  # type: ignore[misc]
            )
        self.refused(ValueError, "key", call=lambda: self.publish("orders", "x", {}, version=1))

    def test_skip_refused(self) -> None:
        """`skip` is a request or a user; a pk is told apart from both."""
        self.refused(TypeError, "skip", "int", call=lambda: self.publish("orders", "x", {}, skip=7))
        self.refused(ValueError, "no pk", call=lambda: self.publish("orders", "x", {}, skip=User(username="new")))

    def test_the_site_s_own(self) -> None:
        """`livepush.django.publish` is bound to the site's declarations and publisher."""
        self.assertRaises(UndeclaredChannel, publish, "no.such.channel", "x", {})
