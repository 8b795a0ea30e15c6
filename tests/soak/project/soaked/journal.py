"""What a publisher says about itself, so that a checker knows what has to arrive.

One file a process, one JSON object a line, each appended by one write(2), so that a process that is killed has told
all it did. Times are `time.monotonic()`, which all processes of a machine share.

    {"do": "publish", "name": "web-12.7", "t": 1.2, "channel": "orders", "hidden": ["client"],
     "only": [["client"], ["3"]] | null, "skip": ["3" | null, "tab" | null] | null, "key": ..., "version": ...,
     "durable": false}
           before anything of it can be on its way; `hidden`: audiences that are told nothing; `only`: the audiences and
           the users that are told; `skip`: the user and the tab that are not
    {"do": "outcome", "name": "web-12.7", "t": 1.3, "outcome": "confirmed", "id": "a1b2-17"}
           `confirmed`; `committed` (durable: it is in the database); `undone` (rolled back); `overflow` (the backlog
           was full: a resync stands for it); `failed`, with the error's class in `why`: nobody knows where it is.
           None at all: its process was killed before.
"""

from __future__ import annotations

import itertools
import json
import os
import queue
import threading
import time
from pathlib import Path
from typing import Any

from django.db import transaction

from livepush.django import Publication, publish

from . import ending

RESULT_SECONDS = 120.0


class Undone(Exception):
    """Raised in a transaction to roll it back."""


class Stopwatch:
    """Adds up what lies between starts and stops: here the call of `publish`, and what it does at the commit."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._since = 0.0

    def start(self) -> None:
        self._since = time.perf_counter()

    def stop(self) -> None:
        self.seconds += time.perf_counter() - self._since


class Journal:
    """The file of one process, and a thread that waits for the outcomes."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name = f"{name}-{os.getpid()}"
        self._numbers = itertools.count(1)
        self._file = os.open(folder / f"{self.name}.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._waiting: queue.SimpleQueue[tuple[str, Publication] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._watch, name="journal", daemon=True)
        self._thread.start()

    def publish(
        self,
        channel: str,
        type: str,  # noqa: A002 - the protocol's word
        *,
        undo: bool = False,
        between: Any = None,
        **options: Any,
    ) -> float:
        """Publishes one event in a transaction, and tells of it; the seconds that livepush took for it.

        Args:
            channel, type: as of `publish`.
            undo: the transaction is rolled back.
            between: called between the commit and whatever the commit sends.
            options: of `publish`.
        """
        name = f"{self.name}.{next(self._numbers)}"
        durable = bool(options.get("durable"))
        self._write({"do": "publish", "name": name, "t": time.monotonic(), "channel": channel, **_described(options)})
        watch = Stopwatch()
        try:
            with transaction.atomic():
                if durable:
                    transaction.on_commit(lambda: self.outcome(name, "committed"))
                if between is not None:
                    transaction.on_commit(between)
                transaction.on_commit(watch.start)
                watch.start()
                publication = publish(channel, type, {"name": name}, **options)
                watch.stop()
                transaction.on_commit(watch.stop)
                if undo:
                    raise Undone
        except Undone:
            self.outcome(name, "undone")
            return watch.seconds
        if not durable:
            self._waiting.put((name, publication))
        return watch.seconds

    def outcome(self, name: str, outcome: str, **more: Any) -> None:
        """What became of one."""
        self._write({"do": "outcome", "name": name, "t": time.monotonic(), "outcome": outcome, **more})

    def finish(self, seconds: float = 2.0) -> None:
        """Waits until the outcomes of what was published are written, as far as they are known by then."""
        self._waiting.put(None)
        self._thread.join(seconds)

    def _watch(self) -> None:
        while (waiting := self._waiting.get()) is not None:
            name, publication = waiting
            try:
                confirmed = publication.result(RESULT_SECONDS)
            except Exception as error:
                why = error.__class__.__name__
                self.outcome(name, "overflow" if why == "BacklogFull" else "failed", why=why)
            else:
                self.outcome(name, "confirmed", id=confirmed)

    def _write(self, entry: dict[str, Any]) -> None:
        os.write(self._file, json.dumps(entry).encode() + b"\n")


def _described(options: dict[str, Any]) -> dict[str, Any]:
    """The part of `publish`'s arguments that says who may know."""
    views, only, skip = options.get("views"), options.get("only"), options.get("skip")
    only = None if only is None else only if isinstance(only, list) else [only]
    return {
        "hidden": [audience for audience, view in (views or {}).items() if view is None],
        "only": None
        if only is None
        else [[each for each in only if isinstance(each, str)], [str(each.pk) for each in only if hasattr(each, "pk")]],
        "skip": None if skip is None else _skipped(skip),
        "key": options.get("key"),
        "version": options.get("version"),
        "durable": bool(options.get("durable")),
    }


def _skipped(skip: Any) -> list[str | None]:
    """A request of the soak has a tab and no user; anything else is a user."""
    if hasattr(skip, "META"):
        return [None, skip.META["HTTP_X_LIVEPUSH_TAB"]]
    return [str(skip.pk), None]


_journals: dict[int, Journal] = {}
_lock = threading.Lock()


def journal(name: str) -> Journal:
    """This process's: a forked child has one of its own."""
    with _lock:
        found = _journals.get(os.getpid())
        if found is None:
            found = _journals[os.getpid()] = Journal(Path(os.environ["SOAK_FOLDER"]) / "published", name)
            ending.last[:] = [found.finish]
        return found


def _renew_lock() -> None:
    global _lock  # noqa: PLW0603 - a thread that does not exist in this child may hold it
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_renew_lock)
