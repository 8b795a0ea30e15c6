"""What was sent on a channel and has no answer yet."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from livepush.broker.flight import Flight


@dataclass(frozen=True, slots=True)
class Message:
    """Of so many bytes."""

    size: int


def make_flight(*sizes: int) -> Flight[Message]:
    flight: Flight[Message] = Flight()
    flight.begin()
    for size in sizes:
        flight.send(Message(size))
    return flight


def sizes(messages: list[Message]) -> list[int]:
    return [message.size for message in messages]


class FlightTests(SynchronousTestCase):
    def test_one(self) -> None:
        """An answer for one message is for no other one, and counts once."""
        flight = make_flight(10, 20, 30)
        self.assertEqual(sizes(flight.answered(2, False)), [20])
        self.assertEqual(flight.answered(2, False), [])
        self.assertEqual((len(flight), flight.bytes), (2, 40))

    def test_multiple(self) -> None:
        """An answer for several is for all that was sent up to there and has none yet, in the order of sending."""
        flight = make_flight(10, 20, 30, 40)
        flight.answered(2, False)
        self.assertEqual(sizes(flight.answered(3, True)), [10, 30])
        self.assertEqual((len(flight), flight.bytes), (1, 40))

    def test_all(self) -> None:
        """Tag 0 stands for all, a tag that was not given yet for all that were."""
        self.assertEqual(sizes(make_flight(10, 20).answered(0, True)), [10, 20])
        self.assertEqual(sizes(make_flight(10, 20).answered(99, True)), [10, 20])
        self.assertEqual(make_flight(10, 20).answered(99, False), [])
        self.assertEqual(make_flight(10, 20).answered(0, False), [])

    def test_begin(self) -> None:
        """A new channel counts from 1, and what an earlier one carried is not awaited."""
        flight = make_flight(10, 20)
        flight.begin()
        flight.send(Message(30))
        self.assertEqual(sizes(flight.answered(1, True)), [30])

    def test_clear(self) -> None:
        """When a channel is gone, what was on its way is known, and late answers are nobody's."""
        flight = make_flight(10, 20)
        self.assertEqual(sizes(flight.clear()), [10, 20])
        self.assertEqual((len(flight), flight.bytes, flight.answered(0, True)), (0, 0, []))

    @given(st.lists(st.one_of(st.none(), st.tuples(st.integers(0, 30), st.booleans())), max_size=60))
    def test_any_order(self, steps: list[tuple[int, bool] | None]) -> None:
        """Whatever the broker answers in whatever order, each message is answered once and the bytes are right."""
        flight = make_flight()
        left: dict[int, Message] = {}
        tag = 0
        for step in steps:
            if step is None:
                tag += 1
                flight.send(Message(tag))
                left[tag] = Message(tag)
            else:
                about, multiple = step
                due = [each for each in left if each <= about or not about] if multiple else [about]
                expected = [left.pop(each) for each in due if each in left]
                self.assertEqual(flight.answered(about, multiple), expected)
            self.assertEqual((len(flight), flight.bytes), (len(left), sum(left)))
