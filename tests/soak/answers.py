"""How long the site's views took, in parts: what livepush took of it, what the view, and what the visitor waited.

    answers.add(now, 0.2, "threads;dur=8000.0, publish;dur=0.2, view;dur=3.1")      # from any thread
    answers.add_bare(now, 0.1, "threads;dur=8000.0, publish;dur=0, view;dur=0")
    answers.tell(begun)

Where a visitor waited and the view was quick, its worker had other work, was only being started, or the machine was
busy: it restarts a broker now and then. What that costs is seen by visits to a view that does nothing at all.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of a site; times in seconds.

    Attributes:
        t: when the visitor had it, monotonic.
        waited: how long he waited for it.
        view: in the view, its database's time included.
        publish: in `livepush.django.publish` and its commit hook.
        server: which site.
        age: of the process that gave it.
    """

    t: float
    waited: float
    view: float
    publish: float
    server: str
    age: float

    @classmethod
    def parse(cls, t: float, waited: float, timing: str) -> Answer:
        """Of its `Server-Timing` header."""
        (server, age), (_, publish), (_, view) = (each.strip().split(";dur=") for each in timing.split(","))
        return cls(t, waited, float(view) / 1000, float(publish) / 1000, server, float(age) / 1000)


class Answers:
    """All answers of a run; only the slowest of each kind are kept."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._slowest: dict[str, Answer] = {}
        self._counts = {"views": 0, "bare": 0}

    def add(self, t: float, waited: float, timing: str) -> None:
        """One more of a view that publishes, with its `Server-Timing` header."""
        answer = Answer.parse(t, waited, timing)
        with self._lock:
            self._counts["views"] += 1
            for kind in ("waited", "view", "publish"):
                self._keep(kind, kind, answer)

    def add_bare(self, t: float, waited: float, timing: str) -> None:
        """One more of the view that does nothing."""
        with self._lock:
            self._counts["bare"] += 1
            self._keep("bare", "waited", Answer.parse(t, waited, timing))

    def _keep(self, kind: str, part: str, answer: Answer) -> None:
        if kind not in self._slowest or getattr(answer, part) > getattr(self._slowest[kind], part):
            self._slowest[kind] = answer

    def tell(self, begun: float) -> Iterator[str]:
        """Lines for people; times count from the run's begin."""
        words = {
            "publish": "slowest publish",
            "view": "slowest view that publishes",
            "waited": "slowest answer of one",
            "bare": "slowest answer of a view that does nothing",
        }
        yield f"{self._counts['views']} answers of views that publish, {self._counts['bare']} of one that does nothing"
        for kind, word in words.items():
            if (answer := self._slowest.get(kind)) is not None:
                parts = f"answer {_ms(answer.waited)}, view {_ms(answer.view)}, publish {_ms(answer.publish)}"
                when = f"{answer.t - begun:.1f} s, {answer.server}, its process {answer.age:.1f} s old"
                yield f"{word}: {parts} ({when})"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"
