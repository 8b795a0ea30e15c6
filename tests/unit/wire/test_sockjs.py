"""Tests of livepush.wire.sockjs."""

from __future__ import annotations

import json
import re

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from livepush.wire import sockjs
from livepush.wire.errors import BadMessage
from livepush.wire.frame import text_frame

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\xad\u200c-\u200f\u2028-\u202f\u2060-\u206f\ufeff\ufff0-\uffff]")


class FrameTests(SynchronousTestCase):
    """What the server sends."""

    @given(st.lists(TEXTS, min_size=1, max_size=10))
    def test_messages(self, texts: list[str]) -> None:
        """An array of pieces holds the texts, and no character that a browser could change on the way."""
        frame = sockjs.array(b"".join(sockjs.message_piece(text.encode()) for text in texts)).decode()
        self.assertEqual((frame[0], json.loads(frame[1:])), ("a", texts))
        self.assertIsNone(UNSAFE.search(frame))
        self.assertTrue(all(char < "\U00010000" for char in frame))

    @given(st.lists(st.dictionaries(TEXTS, TEXTS, max_size=3), min_size=1, max_size=5))
    def test_objects(self, values: list[dict[str, str]]) -> None:
        """Objects are elements themselves, with the same escapes."""
        texts = [json.dumps(value, ensure_ascii=False).encode() for value in values]
        frame = sockjs.array(b"".join(map(sockjs.object_piece, texts))).decode()
        self.assertEqual(json.loads(frame[1:]), values)
        self.assertIsNone(UNSAFE.search(frame))

    def test_bytes(self) -> None:
        """Escapes are lower-case, and what is safe stays as short as it is."""
        text = 'café \u2028 </script> "q" \U0001f600\x7f'
        self.assertEqual(sockjs.quote(text.encode()).decode(), '"café \\u2028 </script> \\"q\\" \\ud83d\\ude00\\u007f"')
        self.assertEqual(sockjs.close_frame(3000, "Go away!"), b'c[3000,"Go away!"]')

    def test_frames(self) -> None:
        """Over a WebSocket each message is a frame with its own array."""
        self.assertEqual(sockjs.message_frame(b'{"a":1}'), text_frame(b'a["{\\"a\\":1}"]'))
        self.assertEqual(sockjs.object_frame(b'{"a":1}'), text_frame(b'a[{"a":1}]'))
        self.assertEqual(sockjs.raw_end(4003, "reload"), b"\x88\x08\x0f\xa3reload")

    @given(TEXTS)
    def test_end(self, text: str) -> None:
        """What ends a session stands in no piece."""
        self.assertNotIn(sockjs.END, sockjs.message_piece(text.encode()))


class ReadArrayTests(SynchronousTestCase):
    """What clients send."""

    @given(st.lists(TEXTS, max_size=10))
    def test_round_trip(self, texts: list[str]) -> None:
        """Every text arrives as it was sent."""
        body = json.dumps(texts).encode()
        self.assertEqual(sockjs.read_array(body, 10_000), [text.encode() for text in texts])

    @given(st.one_of(st.binary(max_size=100), st.text(alphabet='[]{}",\\u0d8e1 a', max_size=40).map(str.encode)))
    def test_hostile(self, body: bytes) -> None:
        """No body raises anything but BadMessage, and what is taken is texts."""
        try:
            messages = sockjs.read_array(body, 50, lone=True)
        except BadMessage:
            return
        self.assertTrue(all(isinstance(message, bytes) and message.decode() is not None for message in messages))

    def test_violations(self) -> None:
        """What is no array of texts."""
        for body in (b"", b"[", b'["a"', b"{}", b"[1]", b'[["a"]]', b'[{"a":1}]', b"null", b'"a"', b"[NaN]", b"\xff"):
            with self.assertRaises(BadMessage, msg=body):
                sockjs.read_array(body, 100)
        with self.assertRaises(BadMessage):
            sockjs.read_array(b'["\\ud800"]', 100)
        with self.assertRaises(BadMessage):
            sockjs.read_array(b"[" * 100_000, 100)

    def test_lone(self) -> None:
        """Over a WebSocket one text may stand alone."""
        self.assertEqual(sockjs.read_array(b'"a"', 100, lone=True), [b"a"])

    def test_bounds(self) -> None:
        """Messages are bounded in number, and each in bytes."""
        most = [""] * sockjs.MESSAGES
        self.assertEqual(len(sockjs.read_array(json.dumps(most).encode(), 10)), sockjs.MESSAGES)
        with self.assertRaises(BadMessage):
            sockjs.read_array(json.dumps([*most, ""]).encode(), 10)
        self.assertEqual(sockjs.read_array('["éé"]'.encode(), 4), ["éé".encode()])
        with self.assertRaises(sockjs.TooLarge):
            sockjs.read_array('["ééa"]'.encode(), 4)
