"""Right input, spoiled: bytes edited in a few places, texts of the same kind, JSON that is nearly what was expected."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from hypothesis import strategies as st

EDITS = 6
"""How often one input is spoiled at most."""

SPICES: tuple[bytes, ...] = (
    b"\x00",
    b"\r\n",
    b"\r\n\r\n",
    b"\n\n",
    b"\x0b",
    b"\x1e",
    b"\x7f",
    b"\x80",
    b"\xff\xfe",
    b"\xed\xa0\x80",
    b"\xe2\x80\xa8",
    b"\xef\xbb\xbf",
    b"\xf0\x9f\x92\xa3",
    b'"',
    b"\\",
    b"\\ud800",
    b"\\u0000",
    b"[" * 40,
    b'{"a":' * 40,
    b"NaN",
    b"Infinity",
    b"1e999",
    b"9" * 400,
    b"-0",
    b"null",
    b"{}",
    b"%00",
    b"%0d%0a",
    b"%",
    b"__proto__",
    b"../",
    b"*",
    b"#",
    b"A" * 5_000,
    b"\x00\x00\x00\x00",
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff\xff\xff\xff\xff",
)
"""What readers have stumbled over elsewhere."""

Edit = tuple[str, float, int, bytes]

_edits: st.SearchStrategy[Edit] = st.tuples(
    st.sampled_from(("insert", "replace", "delete", "repeat", "cut", "flip")),
    st.floats(0, 1),
    st.integers(1, 64),
    st.sampled_from(SPICES) | st.binary(max_size=8),
)


def spoiled(*seeds: bytes) -> st.SearchStrategy[bytes]:
    """One of the seeds, edited."""
    return st.builds(_spoil, st.sampled_from(seeds), st.lists(_edits, max_size=EDITS))


def spoiled_text(*seeds: str) -> st.SearchStrategy[str]:
    """One of the seeds, edited, as text; what is no UTF-8 any more becomes lone surrogates."""
    return spoiled(*(seed.encode() for seed in seeds)).map(lambda data: data.decode("utf-8", "surrogateescape"))


def pieces(data: st.SearchStrategy[bytes]) -> st.SearchStrategy[list[bytes]]:
    """The same bytes as a network hands them over."""
    return st.builds(_split, data, st.lists(st.floats(0, 1), max_size=5))


numbers: st.SearchStrategy[Any] = (
    st.integers() | st.sampled_from((2**31, 2**53, 2**63, -(2**63), 10**40)) | st.floats(allow_nan=False)
)
texts: st.SearchStrategy[str] = st.text(max_size=20) | st.sampled_from(
    (
        "",
        "orders",
        "orders.5",
        "user.7",
        "*",
        "#",
        "a..b",
        "x" * 300,
        "\u2028</script>",
        "\0",
        "__proto__",
        "me.5.17.abcdefgh",
    )
)
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=6,
)
"""JSON."""


def objects(*fields: str, right: dict[str, Any] | None = None) -> st.SearchStrategy[dict[str, Any]]:
    """Objects with some of these fields, some of which hold what is right."""
    known = right or {}

    def value(field: str) -> st.SearchStrategy[Any]:
        return st.just(known[field]) | values if field in known else values

    return st.fixed_dictionaries({}, optional={field: value(field) for field in fields})


def json_bytes(found: st.SearchStrategy[Any]) -> st.SearchStrategy[bytes]:
    """The same as a client writes it."""
    return found.map(lambda value: json.dumps(value).encode())


def _spoil(data: bytes, edits: Sequence[Edit]) -> bytes:
    for what, place, size, spice in edits:
        at = int(place * len(data))
        data = _EDITS[what](data, at, size, spice)
    return data


_EDITS: dict[str, Callable[[bytes, int, int, bytes], bytes]] = {
    "insert": lambda data, at, size, spice: data[:at] + spice + data[at:],
    "replace": lambda data, at, size, spice: data[:at] + spice + data[at + len(spice) :],
    "delete": lambda data, at, size, spice: data[:at] + data[at + size :],
    "repeat": lambda data, at, size, spice: data[:at] + data[at : at + size] * 3 + data[at + size :],
    "cut": lambda data, at, size, spice: data[:at],
    "flip": lambda data, at, size, spice: data[:at] + bytes(byte ^ size for byte in data[at : at + 1]) + data[at + 1 :],
}


def _split(data: bytes, places: Sequence[float]) -> list[bytes]:
    cuts = sorted({0, len(data), *(int(place * len(data)) for place in places)})
    return [data[begin:end] for begin, end in pairwise(cuts)] or [b""]
