"""Publishes many events at once to one user: more than a daemon's prefetch takes.

python -m soaked.burst COUNT
"""

from __future__ import annotations

import sys

import django


def main(count: int) -> None:
    """Publishes them; the interpreter's end flushes."""
    from .events import user
    from .journal import journal

    mine = journal("burst")
    for _ in range(count):
        mine.publish("news", "note", only=user(0))


if __name__ == "__main__":
    django.setup()
    main(int(sys.argv[1]))
