"""The table counts everything once, under the fault in whose time it fell."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.soak.checker import check
from tests.soak.record import Client, Line, Log, Publication
from tests.soak.report import Span, make_rows, render, tell

SPANS = [Span("none", 0.0), Span("broker-kill", 10.0, healed=12.0), Span("the end", 20.0)]


def make_log(*times: float) -> Log:
    lines = [Line(0.0, "granted", "news", "reader")]
    lines += [Line(t, "event", "news", "", f"p-{place}", f"w.{place}", t > 12) for place, t in enumerate(times, 1)]
    return Log(Client("tab1", "1", "reader"), lines)


class ReportTests(SynchronousTestCase):
    def test_rows(self) -> None:
        """Events by when they were begun, deliveries by when they came; silence where it ended."""
        events = [
            Publication(f"w.{place}", t, "news", id=f"p-{place}") for place, t in ((1, 1.0), (2, 11.0), (3, 13.0))
        ]
        published = {event.name: event for event in events}
        logs = [make_log(1.5, 15.0)]
        verdict = check(published, logs)
        _, broken, _ = make_rows(SPANS, published, logs, verdict)
        self.assertEqual((broken.events, broken.delivered, broken.replayed, broken.lost), (2, 1, 1, 1))
        self.assertEqual((broken.silence, broken.after), (13.5, 3.0))
        text = render(make_rows(SPANS, published, logs, verdict), 0.0).splitlines()
        self.assertEqual(len(text), 5)
        self.assertIn("13.5 s", text[-1])
        (line,) = tell(verdict, 0.0)
        self.assertIn("w.3 (p-3, confirmed)", line)

    def test_never_again(self) -> None:
        """A page that hears nothing after a fault counts until the next one."""
        rows = make_rows(SPANS, {}, [make_log(1.5)], check({}, []))
        self.assertEqual(rows[1].after, 8.0)

    def test_allowed_resyncs(self) -> None:
        """A fault allows the reasons that it is answered by, from the daemon it was done to; none allows nothing."""
        span = Span("log-trimmed", 1.0, tells=frozenset({"trimmed"}), where="8001")
        told = [("trimmed", "8001"), ("trimmed", "8000"), ("slow", "8001")]
        self.assertEqual([span.may_tell(*each) for each in told], [True, False, False])
        everywhere = Span("log-lost", 1.0, tells=frozenset({"restart"}))
        self.assertEqual([everywhere.may_tell("restart", port) for port in ("8000", "8001")], [True, True])
        self.assertFalse(SPANS[1].may_tell("restart", "8000"))
