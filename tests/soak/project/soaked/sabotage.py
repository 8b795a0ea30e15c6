"""Daemons that are broken on purpose, so that it is seen that a soak finds it: `--sabotage NAME`.

drop      one event in a hundred is taken for released, and never given to anybody
unheld    what comes too early is released at once: what was missing before it is then a duplicate
forget    a daemon replays nothing of the past, and says that it was nothing
ghosts    a daemon never says of a user that he has left
"""

from __future__ import annotations

import itertools
from typing import Any

PACE = 100


def apply(name: str) -> None:
    """Breaks this process."""
    {"drop": _drop, "unheld": _unheld, "forget": _forget, "ghosts": _ghosts}[name]()


def _drop() -> None:
    from livepush.broker.intake import Intake

    release, count = Intake._release, itertools.count(1)

    def sabotaged(self: Intake, item: Any, offset: int | None) -> None:
        if next(count) % PACE:
            release(self, item, offset)

    Intake._release = sabotaged  # type: ignore[method-assign]


def _unheld() -> None:
    from livepush.broker.ingest import Ingest

    receive = Ingest.receive

    def sabotaged(self: Ingest, stamp: Any, item: Any, offset: int | None, now: float) -> None:
        publisher = self._publishers.get(stamp.publisher)
        if publisher is not None and stamp.number > publisher.next:
            publisher.next = stamp.number
        receive(self, stamp, item, offset, now)

    Ingest.receive = sabotaged  # type: ignore[method-assign]


def _forget() -> None:
    from livepush.daemon.history import History

    since = History.since

    def sabotaged(self: History, *arguments: Any, **options: Any) -> Any:
        found = since(self, *arguments, **options)
        return [] if isinstance(found, list) else found

    History.since = sabotaged  # type: ignore[method-assign]


def _ghosts() -> None:
    from livepush.daemon.attendance import Attendance

    changes = Attendance.changes

    def sabotaged(self: Attendance, now: float) -> tuple[Any, Any]:
        return changes(self, now)[0], []

    Attendance.changes = sabotaged  # type: ignore[method-assign]
