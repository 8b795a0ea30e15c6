"""A page's request to a channel, and what becomes of the answer."""

from __future__ import annotations

import datetime
import json
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.contrib.auth.models import User
from django.utils import timezone, translation
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from livepush.broker.errors import BadPayload
from livepush.django import Audience, CallRefused, Channel
from livepush.django.actor import Caller
from livepush.django.channels import Registry
from livepush.django.receiving import call, plain

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


def make_registry() -> Registry:
    """rooms.{room} answers what it was given, plain has no receiver, odd misbehaves as it is told."""
    registry = Registry()

    class Rooms(Channel, registry=registry):
        name = "rooms.{room}"
        audiences = [Audience("member")]

        def receive(self, user: Any, kind: str, data: Any, room: str) -> Any:  # type: ignore[override]
            return {"user": user.pk, "type": kind, "data": data, "room": room, "tab": self.caller.tab}

    class Plain(Channel, registry=registry):
        name = "plain"
        audiences = [Audience("member")]

    class Odd(Channel, registry=registry):
        name = "odd"
        audiences = [Audience("member")]

        def receive(self, user: Any, kind: str, data: Any, **args: str) -> Any:  # type: ignore[override]
            match kind:
                case "nothing":
                    return None
                case "list":
                    return [1]
                case "refuse":
                    raise CallRefused("Not today.", "closed")
                case "async":
                    return self.late()
                case "activate":
                    translation.activate("de")
                    timezone.activate("Asia/Tokyo")
                case "change":
                    data["more"] = 1
            return {"language": translation.get_language(), "zone": timezone.get_current_timezone_name()}

        async def late(self) -> None:
            pass

    return registry


class CallTests(SynchronousTestCase):
    """`call`."""

    def setUp(self) -> None:
        self.registry = make_registry()
        self.anna = User(pk=7, username="anna")

    def call(self, channel: str, type: str = "x", **data: Any) -> Any:  # noqa: A002
        return call(self.registry, Caller(self.anna, "k3f9", channel), type, data)

    def test_arguments(self) -> None:
        """It gets the user, the type, the data and the words of the placeholders, and knows the caller."""
        expected = {"user": 7, "type": "enter", "data": {"a": [1]}, "room": "5", "tab": "k3f9"}
        self.assertEqual(self.call("rooms.5", "enter", a=[1]), expected)

    def test_no_answer(self) -> None:
        """None is an answer without content."""
        self.assertEqual(self.call("odd", "nothing"), {})

    def test_nothing_to_call(self) -> None:
        """A channel without a receiver, a user's own and one that nobody declared are told likewise."""
        for channel in ("plain", "user.7", "nope", "rooms"):
            self.assertEqual(self.assertRaises(CallRefused, self.call, channel).code, "not_found")

    def test_refused(self) -> None:
        """The site's own words for no."""
        error = self.assertRaises(CallRefused, self.call, "odd", "refuse")
        self.assertEqual((error.code, error.message), ("closed", "Not today."))

    def test_async(self) -> None:
        """A receiver that gives a coroutine is told so, and the coroutine is not left behind."""
        self.assertIn("async", str(self.assertRaises(TypeError, self.call, "odd", "async")))
        self.assertEqual(self.flushWarnings(), [])

    def test_what_a_call_activates_ends_with_it(self) -> None:
        """Language and time zone of one call are not those of the next in the same thread."""
        self.assertEqual(self.call("odd", "activate"), {"language": "de", "zone": "Asia/Tokyo"})
        self.assertNotEqual(self.call("odd", "x"), {"language": "de", "zone": "Asia/Tokyo"})

    def test_own_data(self) -> None:
        """A receiver may change what it is given."""
        data: dict[str, Any] = {}
        call(self.registry, Caller(self.anna, None, "odd"), "change", data)
        self.assertEqual(data, {})


class AnswerTests(SynchronousTestCase):
    """`plain`."""

    def test_values(self) -> None:
        """What Django's encoder can write comes out as JSON has it."""
        answer = {
            "d": datetime.date(2026, 11, 24),
            "n": Decimal("1.50"),
            "u": UUID(int=5),
            "t": translation.gettext_lazy("Yes"),
            "l": [(1, 2)],
        }
        found = plain(answer)
        self.assertEqual(json.loads(json.dumps(found)), found)
        self.assertEqual((found["d"], found["n"], found["l"]), ("2026-11-24", "1.50", [[1, 2]]))

    def test_refused(self) -> None:
        """What JSON, or a browser, can't take is named with its place."""
        deep: Any = []
        for _ in range(40):
            deep = [deep]
        circle: dict[str, Any] = {}
        circle["self"] = circle
        wrong = ([1], "text", 5, {"a": float("nan")}, {"a": object()}, {"a": "\ud800"}, {1: 2}, {"a": deep}, circle)
        for answer in wrong:
            self.assertIn("answer", self.assertRaises(BadPayload, plain, answer).place)

    def test_size(self) -> None:
        """256 KiB and no byte more."""
        room = 256 * 1024 - len('{"a":""}')
        self.assertEqual(len(plain({"a": "x" * room})["a"]), room)
        self.assertIn("at most", self.assertRaises(BadPayload, plain, {"a": "x" * (room + 1)}).why)
        self.assertRaises(BadPayload, plain, {"a": "é" * (room // 2 + 1)})

    @given(st.dictionaries(st.text(max_size=5), JSON, max_size=4))
    def test_any_json(self, answer: dict[str, Any]) -> None:
        """What is JSON already stays what it is; lone surrogates are the one exception."""
        try:
            self.assertEqual(plain(answer), answer)
        except BadPayload as error:
            self.assertIn("surrogate", error.why)


class RefusedTests(SynchronousTestCase):
    """`CallRefused`."""

    def test_code(self) -> None:
        """A code is a word for scripts; a text given in its place is a slip."""
        self.assertEqual(CallRefused("No.").code, "refused")
        for code in ("", "Not today", "x" * 41, "é", "1a", None, "a-b"):
            self.assertRaises(ValueError, CallRefused, "No.", code)

    def test_message(self) -> None:
        """A translated text is one in the end."""
        self.assertEqual(CallRefused(translation.gettext_lazy("Yes")).message, "Yes")
