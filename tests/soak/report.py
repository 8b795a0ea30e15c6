"""The table: what each fault did to what was delivered. Pure.

silence   the longest that any page heard nothing, counted where it ended
after     the longest until a page heard something again once the fault was healed
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.soak.checker import KINDS, Verdict, Violation
from tests.soak.record import Log, Publication

COLUMNS = (
    "fault",
    "at",
    "held",
    "events",
    "delivered",
    "replayed",
    "duplicates",
    "lost",
    "resyncs",
    "silence",
    "moved",
    "after",
)
HEARD = ("event", "dropped", "outdated")


@dataclass(slots=True)
class Span:
    """A fault that was done, and what came of it until the next one.

    Attributes:
        begun, healed: monotonic seconds.
        ready: when all daemons were ready again.
        tells: why daemons may tell pages to reload; see `tests.soak.faults`.
        where: the one that may, by its port; empty: all.
    """

    name: str
    begun: float
    healed: float = 0.0
    ready: float = 0.0
    tells: frozenset[str] = frozenset()
    where: str = ""

    def may_tell(self, why: str, where: str) -> bool:
        """Whether what is done then is answered rightly by a resync of this reason from this daemon."""
        return why in self.tells and self.where in ("", where)


@dataclass(slots=True)
class Row:
    """One line of the table."""

    span: Span
    events: int = 0
    delivered: int = 0
    replayed: int = 0
    duplicates: int = 0
    lost: int = 0
    resyncs: int = 0
    silence: float = 0.0
    moved: float = 0.0
    after: float = 0.0


def make_rows(
    spans: Sequence[Span], published: Mapping[str, Publication], logs: Sequence[Log], verdict: Verdict
) -> list[Row]:
    """Everything by the fault in whose time it fell.

    Args:
        spans: in order of time, the quiet beginning first; each lasts until the next one begins.
    """
    rows = [Row(span) for span in spans]
    begins = [span.begun for span in spans]

    def at(t: float) -> Row:
        return rows[max(0, bisect_right(begins, t) - 1)]

    for event in published.values():
        at(event.t).events += 1
    for violation in verdict.violations:
        row = at(violation.t)
        row.duplicates += violation.kind == "duplicate"
        row.lost += violation.kind == "lost"
    for log in logs:
        _count(rows, begins, log)
    return rows


def _count(rows: Sequence[Row], begins: Sequence[float], log: Log) -> None:
    heard: list[float] = []
    for line in log.lines:
        row = rows[max(0, bisect_right(begins, line.t) - 1)]
        row.delivered += line.what == "event"
        row.replayed += line.what == "event" and line.replayed
        row.resyncs += line.what == "resync"
        if line.what in HEARD:
            if heard:
                row.silence = max(row.silence, line.t - heard[-1])
                if log.client.moves:
                    row.moved = max(row.moved, line.t - heard[-1])
            heard.append(line.t)
    for row, end in zip(rows, [*begins[1:], float("inf")], strict=True):
        place = bisect_right(heard, row.span.healed)
        if row.span.healed and heard:
            again = heard[place] if place < len(heard) else end
            row.after = max(row.after, min(again, end) - row.span.healed)


def render(rows: Sequence[Row], begun: float) -> str:
    """As text; times count from the run's begin."""
    lines: list[tuple[str, ...]] = [COLUMNS]
    for row in rows:
        span = row.span
        held = f"{span.healed - span.begun:.1f} s" if span.healed else ""
        figures = (row.events, row.delivered, row.replayed, row.duplicates, row.lost, row.resyncs)
        after = f"{row.after:.1f} s" if span.healed else ""
        cells = (
            f"{span.begun - begun:.0f} s",
            held,
            *map(str, figures),
            f"{row.silence:.1f} s",
            f"{row.moved:.1f} s",
            after,
        )
        lines.append((span.name, *cells))
    total = [sum(getattr(row, name) for row in rows) for name in COLUMNS[3:9]]
    worst = max((row.silence for row in rows), default=0.0)
    lines.append(("all", "", "", *map(str, total), f"{worst:.1f} s", "", ""))
    widths = [max(len(line[place]) for line in lines) for place in range(len(COLUMNS))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if place == 0 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )


def tell(verdict: Verdict, begun: float, most: int = 10) -> list[str]:
    """A line for each event that something is wrong with, a kind's first `most`; pages are counted, one is named."""
    lines = []
    for kind in KINDS:
        found: dict[tuple[str, str], list[Violation]] = {}
        for violation in sorted(each for each in verdict.violations if each.kind == kind):
            found.setdefault((violation.channel, violation.name), []).append(violation)
        for (channel, _), group in list(found.items())[:most]:
            first = group[0]
            others = f" and {len(group) - 1} other pages" if len(group) > 1 else ""
            lines.append(f"{kind}: {first.t - begun:.2f} s, {channel}, {first.tab}{others}: {first.what}")
        if len(found) > most:
            lines.append(f"{kind}: and {len(found) - most} more events")
    return lines
