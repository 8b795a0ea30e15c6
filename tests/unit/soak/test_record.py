"""What publishers and pages wrote is read as it was meant."""

from __future__ import annotations

import json
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.soak.record import Client, Line, read_logs, read_publications

BEGUN = {
    "do": "publish",
    "name": "web-1.1",
    "t": 2.0,
    "channel": "orders",
    "hidden": ["client"],
    "only": [["moderator"], ["3"]],
    "skip": [None, "tab7"],
    "key": "k",
    "version": 5,
    "durable": False,
}


class RecordTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()

    def write(self, name: str, *entries: object, rest: str = "") -> Path:
        path = self.folder / name
        path.write_text("".join(json.dumps(entry) + "\n" for entry in entries) + rest)
        return path

    def test_publications(self) -> None:
        """Who may know, what became of it; a killed process leaves it open, and half a line is none."""
        confirmed = {"do": "outcome", "name": "web-1.1", "t": 2.5, "outcome": "confirmed", "id": "p-1"}
        self.write("one.jsonl", BEGUN, confirmed)
        self.write("two.jsonl", {**BEGUN, "name": "web-2.1", "only": None, "skip": None}, rest='{"do": "outc')
        found = read_publications(self.folder)
        known, open_ = found["web-1.1"], found["web-2.1"]
        self.assertEqual((known.outcome, known.id, known.promised, known.void), ("confirmed", "p-1", True, False))
        self.assertEqual(known.only, (frozenset({"moderator"}), frozenset({"3"})))
        self.assertEqual((known.hidden, known.skip, known.version), (frozenset({"client"}), (None, "tab7"), 5))
        self.assertEqual((open_.outcome, open_.promised, open_.void), ("", False, False))

    def test_logs(self) -> None:
        """Each page's own lines, in order; connections are no lines of a channel."""
        path = self.write(
            "told.jsonl",
            [1.0, "tab1", "open", "8000", "c1"],
            [1.1, "tab1", "granted", "news", "reader", "8000"],
            [1.2, "tab2", "granted", "news", "reader", "8000"],
            [1.3, "tab1", "event", "news", "p-1", "web-1.1", True],
            [1.4, "tab1", "resync", "news", "hole", "8001"],
        )
        first, second = read_logs([path], [Client("tab1", "1", "reader"), Client("tab2", "2", "reader")])
        self.assertEqual([line.what for line in first.lines], ["granted", "event", "resync"])
        self.assertEqual(first.lines[1], Line(1.3, "event", "news", "", "p-1", "web-1.1", True))
        self.assertEqual(first.lines[2], Line(1.4, "resync", "news", "hole", where="8001"))
        self.assertEqual([line.t for line in second.lines], [1.2])
