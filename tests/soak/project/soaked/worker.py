"""A worker as Celery's: children that do some tasks each, flush, and end by `os._exit`.

python -m soaked.worker NAME RATE
"""

from __future__ import annotations

import itertools
import os
import sys
import threading
from pathlib import Path

import django

TASKS = 25
FLUSH_SECONDS = 60.0
FAILED_SECONDS = 0.5


def main(name: str, rate: float, over: Path) -> None:
    """Runs until there is a file `over`: one child after the other."""
    pause = threading.Event()
    for number in itertools.count():
        child = os.fork()
        if child == 0:
            status = 1
            try:
                work(name, rate, number * TASKS, over)
                status = 0
            finally:
                os._exit(status)
        if os.waitpid(child, 0)[1]:
            pause.wait(FAILED_SECONDS)  # its database was away
        if over.exists():
            return


def work(name: str, rate: float, first: int, over: Path) -> None:
    """What a child does."""
    from livepush.django import flush

    from .events import say
    from .journal import journal

    mine, pace = journal(name), threading.Event()
    for number in range(first, first + TASKS):
        say(mine, number)
        if over.exists():
            break
        pace.wait(1 / rate)
    flush(FLUSH_SECONDS)
    mine.finish()


if __name__ == "__main__":
    django.setup()
    main(sys.argv[1], float(sys.argv[2]), Path(os.environ["SOAK_FOLDER"]) / "over")
