"""What a publisher's process does last, after livepush's own flush: Python calls first what was registered last.

The settings import this, so it is registered before livepush is loaded.
"""

from __future__ import annotations

import atexit
from collections.abc import Callable

last: list[Callable[[], object]] = []
"""Called in order."""


def _end() -> None:
    for act in last:
        act()


atexit.register(_end)
