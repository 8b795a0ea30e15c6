"""Reading JSON that somebody else wrote: browsers and brokers.

Python's reader takes more than JSON (NaN, Infinity, numbers that overflow to them, halves of surrogate pairs) and is
stopped by deep nesting only through `RecursionError`. What is let through here can be written again by any JSON writer
and encoded as UTF-8.
"""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn


class NotJson(ValueError):
    """The bytes are no JSON that can be passed on; the message says why without repeating any of it."""


def loads(raw: bytes, depth: int) -> Any:
    """The value that these bytes say.

    Args:
        raw: UTF-8 JSON of a bounded size.
        depth: how many objects and arrays may be nested.

    Raises:
        NotJson: not UTF-8, not JSON, nested deeper, a number that is not finite, or a lone surrogate.
    """
    try:
        text = raw.decode()
        value = _DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        why = "nested too deep" if isinstance(error, RecursionError) else "not JSON"
        raise NotJson(why) from None
    if text.count("{") + text.count("[") > depth and _depth_exceeds(value, depth):
        raise NotJson("nested too deep")
    if "\\u" in text and _has_lone_surrogate(value):
        raise NotJson("a lone surrogate is no text")
    return value


def _refuse(_: str) -> NoReturn:
    raise ValueError("not a JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("not a finite number")
    return number


_DECODER = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite)


def _depth_exceeds(value: Any, depth: int) -> bool:
    """Whether containers are nested deeper; level by level, so that hostile depth costs no recursion."""
    level = [value]
    while depth:
        level = [item for items in level for item in _items(items)]
        if not any(isinstance(item, dict | list) for item in level):
            return False
        depth -= 1
    return True


def _items(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _has_lone_surrogate(value: Any) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False
