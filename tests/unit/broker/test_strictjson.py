"""Tests of livepush.broker.strictjson."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from livepush.broker.strictjson import NotJson, loads

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


class StrictJsonTests(SynchronousTestCase):
    """What is read can be passed on."""

    @given(VALUES)
    def test_reads_json(self, value: object) -> None:
        """Whatever JSON can say is read as Python's own reader reads it."""
        raw = json.dumps(value).encode()
        self.assertEqual(loads(raw, 64), json.loads(raw))

    @given(st.binary(max_size=60))
    def test_any_bytes(self, raw: bytes) -> None:
        """Bytes are either a value that can be written again, or refused."""
        try:
            value = loads(raw, 32)
        except NotJson:
            return
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()

    def test_what_python_would_take(self) -> None:
        """Numbers that no browser reads, halves of characters and absurd depth are refused."""
        cases = {
            "NaN": b"[NaN]",
            "infinity": b"[-Infinity]",
            "overflow": b"[1e999]",
            "surrogate": rb'["\ud800"]',
            "surrogate key": rb'{"\udc00": 1}',
            "digits": b"[" + b"1" * 5_000 + b"]",
            "depth": b"[" * 100_000,
            "closed depth": b"[" * 40 + b"]" * 40,
            "object depth": b'{"a":' * 40 + b"1" + b"}" * 40,
            "UTF-16": "[1]".encode("utf-16"),
            "BOM": b"\xef\xbb\xbf[1]",
            "not UTF-8": b'["\xff"]',
            "empty": b"",
        }
        for name, raw in cases.items():
            with self.assertRaises(NotJson, msg=name):
                loads(raw, 32)

    def test_depth_is_exact(self) -> None:
        """As deep as is allowed passes, one deeper does not; brackets within texts do not count."""
        loads(b"[" * 32 + b"]" * 32, 32)
        with self.assertRaises(NotJson):
            loads(b"[" * 33 + b"]" * 33, 32)
        loads(json.dumps(["[" * 100, "{" * 100]).encode(), 32)

    def test_pairs_of_surrogates_are_text(self) -> None:
        """A character outside the basic plane may be escaped as a pair."""
        self.assertEqual(loads(rb'"\ud83d\ude00"', 32), "\U0001f600")
