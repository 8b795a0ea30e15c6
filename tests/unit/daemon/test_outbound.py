"""What waits for one connection: conflation, its bound, and who can't follow at all."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from livepush.daemon.outbound import SOFT, Frame, Outbound

BOUND = 4_000


class Owner:
    """The connection: resyncs are `!channel`."""

    def __init__(self) -> None:
        self.ended = 0
        self.writing: Sequence[Frame] = ()

    def tell_slow(self, channel: str) -> bytes:
        return f"!{channel} ".encode()

    def end_slow(self) -> None:
        self.ended += 1


class Peer:
    """An outbound side whose peer reads when told."""

    def __init__(self, bound: int = BOUND) -> None:
        self.owner = Owner()
        self.written: list[bytes] = []
        self.out = Outbound(self.written.append, bound, self.owner)

    def turn(self, *frames: Frame) -> None:
        """One turn's frames."""
        self.out.pending.extend(frames)
        self.out.flush()

    def fan_out(self, *frames: Frame) -> None:
        """The same, by way of a group."""
        self.owner.writing = frames
        self.out.write(b"".join(frame[1] for frame in frames))

    @property
    def waits(self) -> list[bytes]:
        """What is held, in order."""
        return [frame[1] for frame in self.out._held]

    def read(self) -> list[str]:
        """The peer reads everything; the words."""
        self.out.resume()
        words = b"".join(self.written).decode().split()
        self.written.clear()
        return words


def keyed(channel: str, key: str, word: str, size: int = 100) -> Frame:
    """An event with a key."""
    return (channel, word.encode().ljust(size), key)


def plain(channel: str, word: str, size: int = 100) -> Frame:
    """An event without."""
    return (channel, word.encode().ljust(size))


class ConflationTests(SynchronousTestCase):
    """A slow page needs the newest state of a thing, and not what it was before."""

    def test_a_short_pause_costs_nothing(self) -> None:
        """As long as little waits, every event arrives, keys or not."""
        peer = Peer()
        peer.out.pause()
        for number in range(9):
            peer.turn(keyed("orders", "order-5", f"e{number}"))
        self.assertEqual(peer.read(), [f"e{number}" for number in range(9)])

    def test_the_newest_of_each_key(self) -> None:
        """When much waits, of one key on one channel the newest event is left, in the order of the feed."""
        for give in (Peer.turn, Peer.fan_out):
            peer = Peer()
            peer.out.pause()
            for number in range(1_000):
                give(peer, keyed("orders", f"order-{number % 3}", f"e{number}"))
            words = peer.read()
            self.assertEqual(words[-3:], ["e997", "e998", "e999"])
            self.assertLessEqual(len(words), 2 * BOUND // SOFT // 100)
            self.assertEqual(words, sorted(words, key=lambda word: int(word[1:])))
            self.assertEqual(peer.owner.ended, 0)

    def test_other_channels_and_other_events(self) -> None:
        """A key is of its channel, and events without one, like answers, are not conflated."""
        peer = Peer()
        peer.out.pause()
        peer.turn(
            keyed("a", "k", "a1"), plain("a", "x1"), keyed("b", "k", "b1"), ("", b"answer "), keyed("a", "k", "a2")
        )
        peer.turn(plain("a", "x2"), *[keyed("c", "k", f"c{number}") for number in range(8)])
        words = peer.read()
        self.assertEqual(words[:5], ["x1", "b1", "answer", "a2", "x2"])
        self.assertEqual(words[-1], "c7")
        self.assertLess(len(words), 13)

    def test_a_thousand_things_that_never_rest(self) -> None:
        """What conflates well enough is never told as lost, however long the peer does not read."""
        peer = Peer(100_000)
        peer.out.pause()
        for number in range(50_000):
            peer.turn(keyed("orders", f"order-{number % 500}", f"e{number}"))
        words = peer.read()
        self.assertEqual(words[-500:], [f"e{number}" for number in range(49_500, 50_000)])
        self.assertNotIn("!orders", words)

    @given(
        st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["", "k", "l"]), st.booleans()), max_size=300),
        st.integers(500, 3_000),
    )
    def test_never_silently_missing(self, events: list[tuple[str, str, bool]], bound: int) -> None:
        """Whatever comes: in order; each event is there, or a later one of its key is, or a resync follows its loss."""
        peer = Peer(bound)
        told: list[str] = []
        peer.out.pause()
        for number, (channel, key, reads) in enumerate(events):
            name = f"{channel}{key}.{number}"
            peer.turn(keyed(channel, key, name) if key else plain(channel, name))
            self.assertLessEqual(peer.out._bytes, bound)
            if reads:
                told += peer.read()
                peer.out.pause()
        told += peer.read()
        numbers = [int(word.partition(".")[2]) for word in told if not word.startswith("!")]
        self.assertEqual(numbers, sorted(numbers))
        for number, (channel, key, _) in enumerate(events):
            if number in numbers:
                continue
            before = [
                at for at, word in enumerate(told) if not word.startswith("!") and int(word.split(".")[1]) < number
            ]
            after = told[before[-1] + 1 :] if before else told
            newer = [later for later in numbers if later > number and events[later][:2] == (channel, key)]
            self.assertTrue(f"!{channel}" in after or (key and newer), (number, told))


class BoundTests(SynchronousTestCase):
    """Memory is flat, whatever the peer does."""

    def test_over_the_bound(self) -> None:
        """What no conflation helps gives way to one resync for each channel that lost something."""
        peer = Peer()
        peer.out.pause()
        peer.turn(("", b"answer "), *[plain("ab"[number % 2], f"e{number}") for number in range(40)])
        self.assertEqual(peer.read(), ["answer", "!a", "!b"])

    def test_who_reads_again_goes_on(self) -> None:
        """A burst that is larger than the bound is no fault of the peer: it is told once more, and stays."""
        peer = Peer()
        for _ in range(20):
            peer.out.pause()
            peer.turn(*[plain("a", f"e{number}") for number in range(150)])
            peer.out.beat()
            self.assertIn("!a", peer.read())
        self.assertEqual(peer.owner.ended, 0)

    def test_who_reads_nothing(self) -> None:
        """Events were dropped, and a whole heartbeat later nothing was read: the connection ends."""
        peer = Peer()
        peer.out.pause()
        peer.out.beat()
        peer.out.beat()
        self.assertEqual(peer.owner.ended, 0)
        peer.turn(*[plain("a", f"e{number}") for number in range(50)])
        peer.out.beat()
        self.assertEqual(peer.owner.ended, 0)
        peer.out.beat()
        self.assertEqual(peer.owner.ended, 1)

    def test_a_suspension_is_not_the_peers_fault(self) -> None:
        """Who is only waiting to be identified anew is not taken for slow."""
        peer = Peer()
        peer.out.suspend()
        peer.turn(*[plain("a", f"e{number}") for number in range(50)])
        peer.out.beat()
        peer.out.beat()
        self.assertEqual(peer.owner.ended, 0)

    def test_one_copy_for_all(self) -> None:
        """What a thousand slow readers hold of one event is once in memory."""
        frame = plain("a", "e1")
        peers = [Peer() for _ in range(3)]
        for peer in peers:
            peer.out.pause()
            peer.fan_out(frame)
            self.assertIs(peer.waits[0], frame[1])
