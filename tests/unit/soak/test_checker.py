"""The checker finds every kind of broken promise, and none in a run that kept it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from tests.soak.checker import KINDS, Verdict, check
from tests.soak.record import Client, Line, Log, Publication

ANN = Client("tab1", "1", "moderator")
BOB = Client("tab2", "2", "client", ("rooms.1",))
EVE = Client("tab3", "3", "reader")


def make_event(number: int, **changes: object) -> Publication:
    """Event `w.<number>` on `news`, begun at that second, confirmed as `p-<number>`."""
    event = Publication(f"w.{number}", float(number), "news", id=f"p-{number}")
    return replace(event, **changes)  # type: ignore[arg-type]


def given(event: Publication, t: float = 0.0, what: str = "event", **changes: object) -> Line:
    """The line of a client that was given it, half a second after it was begun."""
    line = Line(t or event.t + 0.5, what, event.channel, "", event.id or "outbox-1", event.name)
    return line._replace(**changes)  # type: ignore[arg-type]


def granted(channel: str = "news", t: float = 0.0) -> Line:
    return Line(t, "granted", channel, "reader")


def resync(t: float, channel: str = "news") -> Line:
    return Line(t, "resync", channel, "restart")


class CheckerCase(SynchronousTestCase):
    def check(self, events: Sequence[Publication], *lines: Line, client: Client = EVE, may: bool = True) -> Verdict:
        """One client's log against what was published."""
        return check({event.name: event for event in events}, [Log(client, list(lines))], lambda _: may)

    def assert_found(self, verdict: Verdict, *kinds: str) -> None:
        """These violations, and no others."""
        self.assertEqual(sorted(each.kind for each in verdict.violations), sorted(kinds), verdict.violations)
        self.assertTrue(set(kinds) <= set(KINDS))


class LossTests(CheckerCase):
    """What has to arrive."""

    def test_kept(self) -> None:
        """A client that was given everything, in order and once, has nothing to complain of."""
        events = [make_event(number) for number in (1, 2, 3)]
        verdict = self.check(events, granted(), *map(given, events))
        self.assert_found(verdict)
        self.assertEqual((verdict.due, verdict.delivered, verdict.missing), (3, 3, 0))

    def test_lost(self) -> None:
        """A missing event with a later one behind it is lost; so is one at the very end."""
        events = [make_event(number) for number in (1, 2, 3)]
        for absent in (1, 2):
            lines = [given(event) for place, event in enumerate(events) if place != absent]
            self.assert_found(self.check(events, granted(), *lines), "lost")

    def test_resync(self) -> None:
        """A resync before the next event of that publisher excuses a hole; one that comes behind it doesn't."""
        first, second, third = (make_event(number) for number in (1, 2, 3))
        told = self.check([first, second, third], granted(), given(first), resync(2.5), given(third))
        self.assert_found(told)
        self.assertEqual(told.missing, 1)
        late = self.check([first, second, third], granted(), given(first), given(third), resync(3.7))
        self.assert_found(late, "lost")

    def test_early_resync(self) -> None:
        """What was published after the page had been told to reload is not in what it loaded."""
        first, second, third = (make_event(number) for number in (1, 2, 3))
        self.assert_found(self.check([first, second, third], granted(), resync(1.9), given(third)), "lost")

    def test_other_resync(self) -> None:
        """A resync of another channel excuses nothing."""
        self.assert_found(self.check([make_event(1)], granted(), resync(1.5, "orders")), "lost")

    def test_other_publisher(self) -> None:
        """Between publishers there is no order: a resync behind another one's event is in time."""
        missing, other = make_event(1), make_event(2, id="q-1")
        self.assert_found(self.check([missing, other], granted(), given(other), resync(3.0)))

    def test_before_the_grant(self) -> None:
        """What was published before the client listened is not owed to it."""
        self.assert_found(self.check([make_event(1)], granted(t=2.0)))

    def test_unknown(self) -> None:
        """What was never confirmed may be missing, and may arrive."""
        for outcome in ("", "failed"):
            event = make_event(1, outcome=outcome, id=None)
            self.assert_found(self.check([event], granted()))
            self.assert_found(self.check([event], granted(), given(event)))

    def test_committed(self) -> None:
        """A durable event is owed from its commit on; its number is learnt from who was given it."""
        first = make_event(1, outcome="committed", id=None)
        second = make_event(2, outcome="committed", id=None)
        published = {first.name: first, second.name: second}
        complete = Log(BOB, [granted(), given(first, id="o-1"), given(second, id="o-2")])
        holed = Log(EVE, [granted(), given(second, id="o-2"), resync(4.0)])
        self.assert_found(check(published, [complete, holed]), "lost")

    def test_overflow(self) -> None:
        """What a full backlog refused is told as a resync, and never as an event."""
        event = make_event(1, outcome="overflow", id=None)
        self.assert_found(self.check([event], granted(), resync(1.5)))
        self.assert_found(self.check([event], granted()), "lost")

    def test_later_version(self) -> None:
        """A later version of the same key stands for an earlier one, and no earlier one for a later."""
        first = make_event(1, key="k", version=7)
        second = make_event(2, key="k", version=8)
        other = make_event(3, key="other", version=9)
        self.assert_found(self.check([first, second], granted(), given(second)))
        self.assert_found(self.check([first, second], granted(), given(first)), "lost")
        self.assert_found(self.check([first, other], granted(), given(other)), "lost")


class OrderTests(CheckerCase):
    """Once, and in order."""

    def test_duplicate(self) -> None:
        """An event that the page was given twice is one too many."""
        event = make_event(1)
        self.assert_found(self.check([event], granted(), given(event), given(event)), "duplicate")

    def test_dropped(self) -> None:
        """A copy that the page dropped is what dropping is for."""
        event = make_event(1)
        verdict = self.check([event], granted(), given(event), given(event, what="dropped"))
        self.assert_found(verdict)
        self.assertEqual(verdict.dropped, 1)

    def test_dropped_unseen(self) -> None:
        """An event that the page dropped without ever having had it came too late."""
        first, second = make_event(1), make_event(2)
        lines = (granted(), given(second), given(first, 3.0, what="dropped"))
        self.assert_found(self.check([first, second], *lines), "reordered", "lost")

    def test_reordered(self) -> None:
        """An earlier event of a publisher after its later one."""
        first, second = make_event(1), make_event(2)
        self.assert_found(self.check([first, second], granted(), given(second), given(first, 3.0)), "reordered")

    def test_orders_of_two(self) -> None:
        """Two publishers' events may come in either order."""
        first, second = make_event(1), make_event(2, id="q-1")
        self.assert_found(self.check([first, second], granted(), given(second), given(first, 3.0)))

    def test_stale(self) -> None:
        """An older version after a newer one, of any publisher."""
        newer, older = make_event(1, key="k", version=8), make_event(2, key="k", version=7, id="q-1")
        self.assert_found(self.check([newer, older], granted(), given(newer), given(older)), "stale")
        self.assert_found(self.check([newer, older], granted(), given(newer), given(older, what="outdated")))


class EntitlementTests(CheckerCase):
    """Nothing that a client may not know."""

    def test_audiences(self) -> None:
        """A channel, a view, a single audience, a user, a tab: each can leave a client out."""
        orders = make_event(1, channel="orders")
        cases = [
            (orders, EVE, ANN),
            (replace(orders, hidden=frozenset({"client"})), BOB, ANN),
            (replace(orders, only=(frozenset({"client"}), frozenset())), ANN, BOB),
            (make_event(1, only=(frozenset(), frozenset({"1"}))), EVE, ANN),
            (make_event(1, skip=("3", None)), EVE, ANN),
            (make_event(1, skip=(None, "tab3")), EVE, ANN),
            (make_event(1, channel="user.2"), ANN, BOB),
            (make_event(1, channel="rooms.1"), ANN, BOB),
        ]
        for event, stranger, friend in cases:
            grant = granted(event.channel)
            self.assert_found(self.check([event], grant, given(event), client=stranger), "forbidden")
            self.assert_found(self.check([event], grant, client=stranger))
            self.assert_found(self.check([event], grant, given(event), client=friend))
            self.assert_found(self.check([event], grant, client=friend), "lost")

    def test_other_tab(self) -> None:
        """Leaving out a tab leaves out no other of the same user."""
        event = make_event(1, skip=(None, "tab9"))
        self.assert_found(self.check([event], granted()), "lost")


class InventionTests(CheckerCase):
    """Nothing that nobody said."""

    def test_invented(self) -> None:
        """An event without a publisher, of a rollback, on another channel, or under another id."""
        event = make_event(1)
        self.assert_found(self.check([], granted(), given(event)), "invented")
        undone = make_event(1, outcome="undone", id=None)
        self.assert_found(self.check([undone], granted(), given(undone)), "invented")
        self.assert_found(self.check([event], granted(), given(event, id="p-9")), "invented")
        moved = given(event, channel="orders")
        self.assertIn("invented", {each.kind for each in self.check([event], granted(), moved).violations})

    def test_needless(self) -> None:
        """A resync where everything could have been replayed."""
        self.assert_found(self.check([], granted(), resync(1.0), may=False), "needless")
        self.assert_found(self.check([], granted(), resync(1.0), may=True))

    def test_a_reason_and_a_daemon(self) -> None:
        """Whether a resync is right is asked with its reason, its time and who told it; nothing excuses another one."""
        lines = [granted(), resync(1.0)._replace(where="8000"), resync(2.0)._replace(where="8001", why="back")]
        verdict = check({}, [Log(EVE, lines)], lambda line: (line.why, line.where) == ("restart", "8000"))
        (found,) = verdict.violations
        self.assertEqual((found.kind, found.t, found.name), ("needless", 2.0, "back"))
        self.assertIn("8001", found.what)
