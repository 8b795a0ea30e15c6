"""Tests of livepush.daemon.ring."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from livepush.broker.envelope import Event
from livepush.daemon.ring import OVERHEAD_BYTES, Entry, Ring, RingSettings, in_feed_order


def make_entry(index: int, channel: str = "x", size: int = 100, at: float = 0.0, located: bool = True) -> Entry:
    """An event's entry; in the log it stands at ten times its index."""
    return Entry(index, Event(channel, "t", {}), f"p-{index}", 0, size, at, offset=10 * index if located else None)


def indices(found: tuple[list[Entry], str | None]) -> list[int]:
    """Which entries a ring answered with, none missing."""
    entries, why = found
    assert why is None, why
    return [entry.index for entry in entries]


class RingTests(SynchronousTestCase):
    """What is kept, and what is known to have gone."""

    def test_since(self) -> None:
        """A channel's entries after an index, oldest first; other channels' are not among them."""
        ring = Ring(RingSettings())
        for index, channel in enumerate("xyxxy", 1):
            ring.append(channel, make_entry(index, channel))
        self.assertEqual(indices(ring.since("x", 1)), [3, 4])
        self.assertEqual(indices(ring.since("y", 0)), [2, 5])
        self.assertEqual(indices(ring.since("z", 0)), [])

    def test_number(self) -> None:
        """Over the bound of entries the oldest goes, and who needs it is told."""
        ring = Ring(RingSettings(events=2))
        for index in (1, 2, 3):
            ring.append("x", make_entry(index))
        self.assertEqual(indices(ring.since("x", 1)), [2, 3])
        self.assertEqual(ring.since("x", 0), ([], "trimmed"))

    def test_age(self) -> None:
        """Entries over age go, whichever channel they are of, and a channel without entries costs nothing."""
        ring = Ring(RingSettings(seconds=10))
        ring.append("x", make_entry(1, "x", at=0))
        ring.append("y", make_entry(2, "y", at=5))
        ring.trim(12)
        self.assertEqual(len(ring), 1)
        self.assertEqual(ring.since("x", 0), ([], "trimmed"))
        self.assertEqual(indices(ring.since("x", 1)), [])
        self.assertEqual(indices(ring.since("y", 1)), [2])
        ring.trim(100)
        self.assertEqual((len(ring), ring.bytes), (0, 0))

    def test_bytes(self) -> None:
        """Over the bytes of all channels together the oldest of all goes."""
        ring = Ring(RingSettings(bytes=2 * (100 + OVERHEAD_BYTES)))
        for index, channel in enumerate("xyz", 1):
            ring.append(channel, make_entry(index, channel))
        self.assertEqual(ring.since("x", 0), ([], "trimmed"))
        self.assertEqual(indices(ring.since("y", 1)), [2])
        self.assertEqual(ring.bytes, 2 * (100 + OVERHEAD_BYTES))

    def test_loss_in_a_channel(self) -> None:
        """Nobody is replayed across a loss; who is past it is not concerned."""
        ring = Ring(RingSettings())
        ring.append("x", make_entry(1))
        ring.append("x", Entry(2, None, "p-2", 0, 0, 0.0, "publisher", 20))
        ring.append("x", make_entry(3))
        self.assertEqual(ring.since("x", 1), ([], "publisher"))
        self.assertEqual(indices(ring.since("x", 2)), [3])

    def test_loss_everywhere(self) -> None:
        """A loss that may concern any channel concerns all, also those without entries."""
        ring = Ring(RingSettings())
        ring.lose(Entry(5, None, "p-5", 0, 0, 0.0, "hole", 50))
        self.assertEqual(ring.since("z", 4), ([], "hole"))
        self.assertEqual(indices(ring.since("z", 5)), [])

    def test_adrift_is_bounded(self) -> None:
        """A log that shows nothing for long does not fill the memory with names."""
        ring = Ring(RingSettings(events=1), adrift=3)
        for index in range(1, 10):
            ring.append("x", make_entry(index, located=False))
        self.assertEqual(len(ring._adrift), 3)
        for index in (5, 6, 7):
            self.assertEqual(ring.since_offset("x", 10 * index - 10), ([], "trimmed"))
            ring.located(f"p-{index}", 10 * index)
        self.assertEqual([entry.index for entry in ring.since_offset("x", 70)[0]], [8, 9])

    def test_settings(self) -> None:
        """A bound of nothing is refused."""
        with self.assertRaisesRegex(ValueError, "ring events: 0"):
            RingSettings(events=0)

    @given(
        st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 900), st.floats(0, 3)), max_size=60),
        st.integers(0, 60),
        st.sampled_from("abc"),
    )
    def test_never_incomplete_in_silence(
        self, released: list[tuple[str, int, float]], after: int, channel: str
    ) -> None:
        """Against a list that keeps everything: an answer is complete, or says that it is not; bounds hold."""
        settings = RingSettings(seconds=5, events=4, bytes=6_000)
        ring, everything, now = Ring(settings), [], 0.0
        for index, (name, size, wait) in enumerate(released, 1):
            now += wait
            entry = make_entry(index, name, size, now)
            ring.append(name, entry)
            everything.append((name, entry))
            self.assertLessEqual(ring.bytes, settings.bytes)
        self.assertEqual(ring.bytes == 0, len(ring) == 0)
        entries, why = ring.since(channel, after)
        if why is None:
            self.assertEqual(entries, [entry for name, entry in everything if name == channel and entry.index > after])

    @given(
        st.lists(
            st.tuples(
                st.sampled_from("ab"), st.integers(0, 900), st.floats(0, 2), st.integers(0, 6), st.integers(0, 3)
            ),
            max_size=40,
        ),
        st.integers(0, 60),
        st.booleans(),
        st.integers(1, 4),
    )
    def test_never_incomplete_by_offset(
        self, made: list[tuple[str, int, float, int, int]], back: int, holes: bool, bound: int
    ) -> None:
        """The same for offsets: the log has another order, the reader is behind, before and far behind.

        Whoever had everything up to any record that was read gets all that stands behind it, or is told.
        """
        settings = RingSettings(seconds=5, events=bound, bytes=6_000)
        ring, now, last = Ring(settings), 0.0, -1
        places = sorted(range(len(made)), key=lambda number: (number + made[number][3], number))
        offsets = {number: 10 * place for place, number in enumerate(places)}
        released: list[tuple[str, Entry, int]] = []
        waiting = list(places)
        for index, (name, size, wait, _, reads) in enumerate(made):
            now += wait
            offset = offsets[index]
            entry = make_entry(index + 1, name, size, now)
            entry.offset = offset if offset <= last else None
            if holes and index % 7 == 6:
                entry.event, entry.why = None, "hole"
                ring.lose(entry)
            else:
                ring.append(name, entry, last)
            released.append((name, entry, offset))
            for _ in range(reads if waiting else 0):
                if waiting:
                    number = waiting.pop(0)
                    last = offsets[number]
                    if number <= index:
                        ring.located(f"p-{number + 1}", last)
            self.assertLessEqual(ring.bytes, 2 * settings.bytes)
        ring.trim(now, last)
        since = last - 10 * back
        for channel in "ab":
            entries, why = ring.since_offset(channel, since)
            concerned = [one for one in released if one[2] > since and (one[0] == channel or one[1].event is None)]
            if why is None:
                missing = [entry for _, entry, _ in concerned if entry not in entries]
                surplus = [entry for entry in entries if entry.offset is not None and entry.offset <= since]
                self.assertEqual((missing, surplus), ([], []))
                self.assertEqual(entries, sorted(entries, key=lambda entry: entry.index))


class FeedOrderTests(SynchronousTestCase):
    """Replays of several channels."""

    def test_merged(self) -> None:
        """Entries stand as they were released."""
        first, second = [make_entry(1), make_entry(4)], [make_entry(2), make_entry(3)]
        self.assertEqual([entry.index for entry in in_feed_order([first, second])], [1, 2, 3, 4])
