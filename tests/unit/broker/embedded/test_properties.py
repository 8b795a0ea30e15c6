"""Properties are passed on without decoding only when every consumer can decode them."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from pika import spec
from pika.frame import Header
from twisted.trial.unittest import SynchronousTestCase

from livepush.broker.embedded.properties import plain

TEXT = st.text(max_size=8)
VALUES = st.one_of(TEXT, st.binary(max_size=8), st.integers(-(2**63), 2**63 - 1), st.booleans())
FIELDS = {
    "content_type": TEXT,
    "headers": st.dictionaries(st.text(max_size=8).filter(lambda it: it not in ("CC", "BCC")), VALUES, max_size=5),
    "delivery_mode": st.integers(1, 2),
    "priority": st.integers(0, 255),
    "message_id": TEXT,
    "timestamp": st.integers(0, 2**64 - 1),
    "type": TEXT,
    "app_id": TEXT,
    "cluster_id": TEXT,
}


def payload_of(**fields: Any) -> bytes:
    """A content header's payload."""
    return bytes(Header(1, 5, spec.BasicProperties(**fields)).marshal()[7:-1])


def is_plain(payload: bytes) -> bool:
    """With the flags that stand in it."""
    return plain(payload, int.from_bytes(payload[12:14], "big"))


class PlainTests(SynchronousTestCase):
    """`plain`."""

    @given(st.fixed_dictionaries({}, optional=FIELDS))
    def test_ordinary_properties_are_plain(self, fields: dict[str, Any]) -> None:
        """Nothing is decoded for them."""
        self.assertTrue(is_plain(payload_of(**fields)))

    @given(st.fixed_dictionaries({}, optional=FIELDS), st.data())
    def test_what_is_plain_can_be_decoded(self, fields: dict[str, Any], data: st.DataObject) -> None:
        """Also when bytes are changed, cut off or added: whatever is called plain, pika reads."""
        payload = bytearray(payload_of(**fields))
        for _ in range(data.draw(st.integers(1, 3))):
            index = data.draw(st.integers(12, len(payload) - 1))
            payload[index] = data.draw(st.integers(0, 255))
        changed = bytes(payload[: data.draw(st.integers(14, len(payload)))]) + data.draw(st.binary(max_size=2))
        if is_plain(changed):
            properties = spec.BasicProperties()
            properties.decode(changed, 12)
            self.assertIsNone(properties.expiration)
            self.assertIsNone(properties.user_id)
            self.assertFalse({"CC", "BCC"} & set(properties.headers or {}))

    def test_what_the_broker_must_look_at_is_not_plain(self) -> None:
        """Expiry, user id, CC and BCC, nested tables."""
        special: list[dict[str, Any]] = [{"expiration": "1"}, {"user_id": "me"}]
        special += [{"headers": {name: ["q"]}} for name in ("CC", "BCC")] + [{"headers": {"a": {"b": 1}}}]
        for fields in special:
            self.assertFalse(is_plain(payload_of(**fields)), fields)
