from __future__ import annotations

import datetime
import decimal
import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from livepush.broker.envelope import (
    BODY_BYTES,
    DEPTH,
    MAX_NUMBER,
    Control,
    Event,
    Kind,
    Marker,
    Message,
    Only,
    Resync,
    Skip,
    Stamp,
    decode,
    encode_control,
    encode_event,
    encode_marker,
    encode_resync,
    headers_of,
    session_hash,
)
from livepush.broker.errors import BadPayload, Malformed

STAMP = Stamp("a1b2c3", 17, 15, 2)
TS = 1_732_250_000_123
HEADERS = headers_of(Kind.EVENT, TS, STAMP)
BODY = b'{"channel":"orders","type":"lock","data":{}}'

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
words = st.from_regex(r"[A-Za-z0-9_-]{1,12}", fullmatch=True)
channels = st.lists(words, min_size=1, max_size=3).map(".".join).filter(lambda name: name.partition(".")[0] != "user")
scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), texts)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=4)),
    max_leaves=12,
)
objects = st.dictionaries(texts, values, max_size=5)
events = st.builds(
    Event,
    channels,
    words,
    objects,
    st.dictionaries(words, st.none() | objects, max_size=3),
    st.none() | st.builds(Only, st.frozensets(words, max_size=3), st.frozensets(texts, max_size=3)),
    st.none() | st.builds(Skip, st.none() | texts, st.none() | texts),
    st.none() | texts,
    st.none() | st.integers(),
)


def read(
    kind: Any = "event", app: Any = "a1b2c3", number: Any = "17", headers: Any = HEADERS, body: Any = BODY
) -> Message:
    return decode(kind, app, number, headers, body)


class RoundTripTests(SynchronousTestCase):
    @given(events)
    @settings(max_examples=200, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
    def test_an_event_is_read_as_it_was_written(self, event: Event) -> None:
        """Whatever the data, its views and whom it is for."""
        message = read(body=encode_event(event))
        self.assertEqual((message.kind, message.stamp, message.ts, message.content), (Kind.EVENT, STAMP, TS, event))

    def test_the_other_kinds(self) -> None:
        """Records, voids and live events."""
        for channel in ("orders", "user.~mfage", None):
            record = Resync(channel, "publisher")
            message = read("resync", headers=headers_of(Kind.RESYNC, TS, STAMP), body=encode_resync(record))
            self.assertEqual(message.content, record)
        self.assertEqual(read("void", body=b"{}"), Message(Kind.VOID, STAMP, TS, None))
        session = session_hash("secret")
        self.assertNotIn("secret", session)
        for control in (
            Control("identity", "7"),
            Control("identity"),
            Control("outbox"),
            Control("logout", "7", session),
            Control("disconnect", "7", why="moved"),
            Control("disconnect", session=session, why="ein Grund, ähnlich lang"),
            Control("revoke", "7", channel="orders.5"),
            Control("revoke", channel="orders"),
        ):
            message = read("control", headers=headers_of(Kind.CONTROL, TS, STAMP), body=encode_control(control))
            self.assertEqual((message.content, message.stamp), (control, STAMP))
        marker = decode("marker", None, None, headers_of(Kind.MARKER, TS, None), encode_marker(Marker("k3f9", 12)))
        self.assertEqual((marker.stamp, marker.content), (None, Marker("k3f9", 12)))
        live = decode("live", None, None, headers_of(Kind.LIVE, TS, None), BODY)
        self.assertEqual((live.stamp, live.content), (None, Event("orders", "lock", {})))

    def test_a_control_of_a_later_version_concerns_everybody(self) -> None:
        """Whatever it says of whom: a daemon that does not understand it must not think that it is meant for one."""
        for body in (b'{"what":"weather","user":"7"}', b'{"what":"weather","user":[7]}', b'{"what":"weather"}'):
            self.assertEqual(read("control", body=body).content, Control("weather"))

    def test_one_encoding_for_all_audiences(self) -> None:
        """An audience sees data with its own view over it; None is nothing, one not named sees data."""
        event = Event("orders", "done", {"order": 5, "action": "none"}, {"client": {"action": "hide"}, "guest": None})
        self.assertEqual(event.view("client"), {"order": 5, "action": "hide"})
        self.assertIsNone(event.view("guest"))
        self.assertEqual(event.view("moderator"), event.data)


class EncodeTests(SynchronousTestCase):
    def refused(self, data: Any, default: Any = None, **views: Any) -> str:
        with self.assertRaises(BadPayload) as caught:
            encode_event(Event("orders", "lock", data, views), default)
        return str(caught.exception)

    def test_what_is_not_json_is_named_with_its_place(self) -> None:
        """At the call, not at the reader."""
        self.assertIn("data['a'][1]", self.refused({"a": [1, float("nan")]}))
        self.assertIn("data['a']", self.refused({"a": float("inf")}))
        self.assertIn("data['a']", self.refused({"a": object()}))
        self.assertIn("data", self.refused({7: 1}))
        self.assertIn("data['a']", self.refused({"a": "\ud800"}))
        self.assertIn("surrogate", self.refused({"\ud800": 1}))
        self.assertIn("views['client']['b']", self.refused({}, client={"b": {1, 2}}))

    def test_depth_and_size_are_bounded(self) -> None:
        """32 levels; 256 KiB with all views."""
        nested: Any = 1
        for _ in range(DEPTH - 1):
            nested = [nested]
        encode_event(Event("orders", "lock", {"a": nested[0]}))
        self.assertIn("nested", self.refused({"a": [[nested]]}))
        self.assertIn("262144", self.refused({"a": "x" * BODY_BYTES}))
        self.assertIn("262144", self.refused({"a": "x" * (BODY_BYTES // 2)}, client={"b": "x" * (BODY_BYTES // 2)}))

    def test_a_structure_that_holds_itself(self) -> None:
        """Is an error, not the end of the process."""
        loop: dict[str, Any] = {}
        loop["loop"] = loop
        self.refused(loop)

    def test_values_with_a_form_of_their_own(self) -> None:
        """`default` says it, as for json.dumps."""
        day = datetime.date(2026, 11, 22)
        body = encode_event(Event("orders", "lock", {"day": day, "price": decimal.Decimal("1.50")}), default=str)
        self.assertEqual(json.loads(body)["data"], {"day": "2026-11-22", "price": "1.50"})


class HostileTests(SynchronousTestCase):
    def malformed(self, **parts: Any) -> Malformed:
        with self.assertRaises(Malformed) as caught:
            read(**parts)
        error: Malformed = caught.exception
        return error

    def test_bad_bodies_spend_their_number(self) -> None:
        """The stamp is known all the same, so no hole is waited for; nothing of the body is repeated."""
        for body in (
            b"",
            b"secret",
            b"\xff\xfe",
            b"[]",
            b"null",
            b'"secret"',
            b"{}",
            b"[" * 100_000,
            b'{"a":' * 5_000,
            b"1" * 5_000,
            b"x" * (BODY_BYTES + 1),
            b'{"channel":"#","type":"lock","data":{}}',
            b'{"channel":"orders","type":"a b","data":{}}',
            b'{"channel":7,"type":"lock","data":{}}',
            b'{"channel":null,"type":"lock","data":{}}',
            b'{"channel":"orders","type":"lock","data":[]}',
            b'{"channel":"orders","type":"lock","data":{},"views":[1]}',
            b'{"channel":"orders","type":"lock","data":{},"views":{"a":1}}',
            b'{"channel":"orders","type":"lock","data":{},"only":{}}',
            b'{"channel":"orders","type":"lock","data":{},"only":{"audiences":7,"users":[]}}',
            b'{"channel":"orders","type":"lock","data":{},"only":{"audiences":[[]],"users":[]}}',
            b'{"channel":"orders","type":"lock","data":{},"skip":[]}',
            b'{"channel":"orders","type":"lock","data":{},"skip":{"user":7,"tab":null}}',
            b'{"channel":"orders","type":"lock","data":{},"key":7}',
            b'{"channel":"orders","type":"lock","data":{},"version":1.5}',
            b'{"channel":"orders","type":"lock","data":{},"version":true}',
        ):
            error = self.malformed(body=body)
            self.assertEqual(error.stamp, STAMP, body[:60])
            self.assertNotIn("secret", str(error))
            self.assertLess(len(str(error)), 100)

    def test_bad_controls_and_markers(self) -> None:
        """As bad events; who a control is about is a text, and never a number."""
        for body in (
            b"",
            b"{}",
            b"[]",
            b'{"what":7}',
            b'{"what":"identity","user":7}',
            b'{"what":null}',
            b'{"what":"logout","user":"7","session":null}',
            b'{"what":"logout","user":"7","session":"k3f9"}',
            b'{"what":"disconnect","user":null,"session":null,"why":""}',
            b'{"what":"disconnect","user":"7","session":null}',
            b'{"what":"disconnect","user":"7","session":null,"why":"%s"}' % (b"x" * 121),
            b'{"what":"revoke","user":"7","channel":"#"}',
            b'{"what":"revoke","user":"7"}',
        ):
            self.assertEqual(self.malformed(kind="control", body=body).stamp, STAMP, body)
        for body in (b"", b"{}", b'{"process":7,"number":1}', b'{"process":"k","number":"1"}', b'{"process":"k"}'):
            self.assertIsNone(self.malformed(kind="marker", body=body).stamp, body)

    def test_bad_stamps(self) -> None:
        """A logged message without a usable number is not livepush's."""
        bad: list[dict[str, Any]] = [{"app": value} for value in (None, "", "a" * 65, "a b", "a\n", "ä", 7, b"a")]
        bad += [
            {"number": value}
            for value in (None, "", "0", "-1", "01", "1.0", "\u0661", str(MAX_NUMBER + 1), "9" * 5_000, 17)
        ]
        for name in ("low", "sending"):
            bad += [{"headers": {**HEADERS, name: value}} for value in (None, 0, -1, "1", 1.5, True, 2**70)]
        bad.append({"headers": {**HEADERS, "low": 18}})
        bad.append({"headers": None})
        for parts in bad:
            self.assertIsNone(self.malformed(**parts).stamp, parts)

    def test_what_this_version_does_not_know(self) -> None:
        """Kinds and schemas of another time: malformed, with the number spent."""
        for kind in ("edict", "", None, "EVENT", 7):
            self.assertEqual(self.malformed(kind=kind).stamp, STAMP)
        for version in (None, 0, 2, "1", [1]):
            self.assertEqual(self.malformed(headers={**HEADERS, "v": version}).stamp, STAMP)
        for ts in (None, -1, "1", 1.5, True, 2**63):
            self.assertEqual(self.malformed(headers={**HEADERS, "ts": ts}).stamp, STAMP)

    @given(
        st.one_of(st.none(), texts, st.sampled_from([kind.value for kind in Kind])),
        st.one_of(st.none(), texts, st.just("p")),
        st.one_of(st.none(), texts, st.just("5")),
        st.one_of(
            st.none(),
            st.dictionaries(st.sampled_from(["v", "ts", "low", "sending", "x"]), values, max_size=5),
            st.just({"v": 1, "ts": 5, "low": 1, "sending": 1}),
        ),
        st.one_of(
            st.binary(max_size=60),
            values.map(lambda value: json.dumps(value).encode()),
            st.fixed_dictionaries(
                {"channel": st.one_of(channels, values), "type": st.one_of(words, values), "data": values},
                optional=dict.fromkeys(("views", "only", "skip", "key", "version", "why", "what", "user"), values),
            ).map(lambda value: json.dumps(value).encode()),
        ),
    )
    @settings(max_examples=200, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
    def test_whatever_comes(self, kind: Any, app: Any, number: Any, headers: Any, body: bytes) -> None:
        """A message or Malformed, never anything else."""
        try:
            message = decode(kind, app, number, headers, body)
        except Malformed:
            return
        self.assertIsInstance(message, Message)
