from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from livepush.broker import names
from livepush.broker.errors import BadName
from livepush.broker.names import ChannelPattern, check_channel, check_type, is_channel, personal_channel

GOOD = ("orders", "orders.5", "a-b_C.9", "x" * 180, "user.7", "user.~mfrgg", "user.~a2345", "users", "users.7.x")
BAD = (
    "",
    ".",
    "a.",
    ".a",
    "a..b",
    "#",
    "*",
    "a.#",
    "a.*",
    "a b",
    "a/b",
    "a\n",
    "a\0",
    "ä",
    "\uff11",
    "a.{b}",
    "x" * 181,
    "~mfrgg",
    "orders.~mfrgg",
    "user",
    "user.",
    "user.7.8",
    "user.~",
    "user.~ABC",
    "user.~a1",
    None,
    7,
    b"orders",
    ["orders"],
)


class ChannelTests(SynchronousTestCase):
    def test_good_names(self) -> None:
        """Words joined by dots, at most 180 bytes, and personal channels."""
        for name in GOOD:
            self.assertEqual(check_channel(name), name)
            self.assertTrue(is_channel(name))

    def test_bad_names(self) -> None:
        """Refused where they are written, with value and remedy; a long one is not repeated in full."""
        for name in BAD:
            with self.assertRaises(BadName) as caught:
                check_channel(name)
            self.assertLess(len(str(caught.exception)), 300)
            self.assertIs(caught.exception.value, name)

    def test_the_quick_form_agrees(self) -> None:
        """What comes from clients is judged by the same grammar."""
        for name in (*GOOD, *BAD):
            if isinstance(name, str):
                self.assertEqual(is_channel(name), name in GOOD, name)

    @given(st.one_of(st.text(max_size=12), st.from_regex(r"[A-Za-z0-9_.~#*-]{0,12}", fullmatch=True)))
    @settings(max_examples=200, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
    def test_no_name_widens_a_binding(self, name: str) -> None:
        """Whatever passes fits into a routing key and holds no wildcard; both forms always agree."""
        try:
            check_channel(name)
        except BadName:
            self.assertFalse(is_channel(name))
            return
        self.assertTrue(is_channel(name))
        self.assertFalse(set("#*") & set(name))
        self.assertNotIn("", name.split("."))

    def test_keys_fit_into_amqp(self) -> None:
        """Also the longest names: a routing key has at most 255 bytes."""
        channel, type_ = "x" * names.CHANNEL_BYTES, "y" * names.TYPE_BYTES
        keys = (names.event_key(channel, type_), names.live_key(channel, type_), names.resync_key(channel))
        for long in keys:
            self.assertLessEqual(len(long.encode()), 255)
        self.assertEqual(names.event_key("orders", "lock"), "event.orders.lock")
        self.assertEqual(names.live_key("orders", "typing"), "live.orders.typing")
        self.assertEqual(names.resync_key("orders"), "event.orders.livepush.resync")
        self.assertEqual(names.resync_key(None), "event.livepush.resync")


class TypeTests(SynchronousTestCase):
    def test_types(self) -> None:
        """The same words, at most 60 bytes; a personal channel's form is none."""
        for name in ("lock", "order.lock", "x" * 60):
            self.assertEqual(check_type(name), name)
        for bad in ("", "x" * 61, "a b", "#", "user.~mfrgg", None):
            with self.assertRaises(BadName):
                check_type(bad)


class PersonalTests(SynchronousTestCase):
    def test_any_primary_key_has_a_channel(self) -> None:
        """Numbers and UUIDs as they are, anything else by its base32."""
        self.assertEqual(personal_channel(7), "user.7")
        self.assertEqual(personal_channel("5f2c-aa"), "user.5f2c-aa")
        self.assertEqual(personal_channel("a@b"), "user.~mfage")
        self.assertTrue(is_channel(personal_channel("a@b.c")))

    @given(st.text(max_size=60), st.text(max_size=60))
    @settings(max_examples=200, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
    def test_different_users_have_different_channels(self, one: str, other: str) -> None:
        """And every one of them is a channel, as long as the key is not absurd."""
        try:
            first, second = personal_channel(one), personal_channel(other)
        except BadName:
            self.assertTrue(
                max(len(one.encode("utf-8", "surrogatepass")), len(other.encode())) > 100 or "" in (one, other)
            )
            return
        self.assertEqual(first == second, one == other)
        self.assertTrue(is_channel(first))


class PatternTests(SynchronousTestCase):
    def test_a_placeholder_is_one_word(self) -> None:
        """orders.{order_id} is orders.5 and not orders, orders.5.6 or orders.~x."""
        pattern = ChannelPattern("orders.{order_id}")
        self.assertEqual(pattern.match("orders.5"), {"order_id": "5"})
        self.assertEqual(pattern.arguments, ("order_id",))
        self.assertFalse(pattern.plain)
        for channel in ("orders", "orders.5.6", "orders.", "orders.5\n", "orders.~x", "xorders.5"):
            self.assertIsNone(pattern.match(channel), channel)

    def test_a_plain_name(self) -> None:
        """It is itself only; its dot is a dot."""
        pattern = ChannelPattern("a.b")
        self.assertTrue(pattern.plain)
        self.assertEqual(pattern.match("a.b"), {})
        self.assertIsNone(pattern.match("axb"))

    def test_what_is_refused(self) -> None:
        """At declaration, with the remedy."""
        for text in (
            "",
            "a..b",
            "a.{b",
            "a.x{b}",
            "a.{b}.{b}",
            "{b}.{",
            "a.#",
            "user.x",
            "livepush",
            "x" * 181,
            "a.{B}",
        ):
            with self.assertRaises(BadName):
                ChannelPattern(text)
        for value in (None, 7):
            with self.assertRaises(BadName):
                ChannelPattern(value)  # type: ignore[arg-type]

    def test_patterns_are_values(self) -> None:
        """Equal when their text is."""
        self.assertEqual(ChannelPattern("a.{b}"), ChannelPattern("a.{b}"))
        self.assertEqual(len({ChannelPattern("a.{b}"), ChannelPattern("a.{b}")}), 1)
