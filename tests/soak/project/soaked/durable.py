"""A process that publishes durably, and is killed between a commit and its publishing now and then.

python -m soaked.durable NAME RATE
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
import threading
from pathlib import Path

import django

LIFE = 40
"""Events until it is killed."""


def main(name: str, rate: float, over: Path) -> None:
    """Runs until there is a file `over`, or until it kills itself."""
    from .events import say
    from .journal import journal

    mine, pace = journal(name), threading.Event()
    for number in itertools.count():
        say(mine, number, durable=True, between=_die if number % LIFE == LIFE - 1 else None)
        if over.exists():
            return
        pace.wait(1 / rate)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    django.setup()
    main(sys.argv[1], float(sys.argv[2]), Path(os.environ["SOAK_FOLDER"]) / "over")
