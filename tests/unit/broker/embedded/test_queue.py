"""Queues keep order and bounds, and the ledger is right."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from livepush.broker.embedded.limits import Ledger
from livepush.broker.embedded.message import Message
from livepush.broker.embedded.queue import Entry, Queue


def make_message(text: str) -> Message:
    return Message(b"\x00\x01k", b"header", text.encode())


def texts(queue: Queue) -> list[str]:
    return [entry.message.body.decode() for entry in queue.ready]


class QueueTests(SynchronousTestCase):
    """`Queue` without consumers."""

    def make(self, **arguments: object) -> Queue:
        self.ledger = Ledger(10**9)
        return Queue("q", self.ledger, arguments={key.replace("_", "-"): value for key, value in arguments.items()})

    def test_what_comes_back_finds_its_place(self) -> None:
        """Whatever the order in which it comes."""
        queue = self.make()
        for text in "abcde":
            queue.put(make_message(text))
        taken = [queue.get() for _ in range(4)]
        for index in (2, 0, 3, 1):
            entry = taken[index]
            assert entry is not None
            queue.give_back(entry)
        self.assertEqual(texts(queue), ["a", "b", "c", "d", "e"])
        self.assertEqual([entry.redelivered for entry in queue.ready], [True] * 4 + [False])

    def test_redelivery_is_told_per_queue(self) -> None:
        """A message that one queue's consumer gave back is new to another queue's."""
        one, two = self.make(), self.make()
        message = make_message("x")
        one.put(message)
        two.put(message)
        entry = one.get()
        assert entry is not None
        one.give_back(entry)
        self.assertEqual([queue.ready[0].redelivered for queue in (one, two)], [True, False])

    def test_what_comes_back_to_a_full_queue_is_the_oldest(self) -> None:
        """And goes first."""
        queue = self.make(x_max_length=2)
        queue.put(make_message("a"))
        entry = queue.get()
        assert entry is not None
        for text in "bc":
            queue.put(make_message(text))
        queue.give_back(entry)
        self.assertEqual((texts(queue), queue.dropped), (["b", "c"], 1))

    @given(st.lists(st.sampled_from(["put", "get", "back", "settle", "purge"]), max_size=40), st.integers(0, 4))
    def test_the_ledger_holds_exactly_what_is_there(self, steps: list[str], length: int) -> None:
        """Whatever happens, and nothing is left when the queue is deleted and all is settled."""
        queue = self.make(x_max_length=length)
        out: list[Entry] = []
        for step in steps:
            if step == "put":
                queue.put(make_message("x" * 10))
            elif step == "get" and (entry := queue.get()) is not None:
                out.append(entry)
            elif step == "back" and out:
                queue.give_back(out.pop())
            elif step == "settle" and out:
                queue.settle(out.pop())
            elif step == "purge":
                queue.purge()
            cost = make_message("x" * 10).cost
            self.assertEqual(self.ledger.held, cost * (len(queue.ready) + len(out)))
            self.assertLessEqual(len(queue.ready), length)
        queue.close()
        while out:
            queue.give_back(out.pop())
        self.assertEqual((self.ledger.held, len(queue.ready)), (0, 0))
