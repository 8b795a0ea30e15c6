"""Tests of `livepush.broker.attachment`: what happens goes in, steps come out, and the time is a number."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from livepush.broker.attachment import Attachment, Doubt, Phase, Seen, Step


class AttachmentTests(SynchronousTestCase):
    """The order, the proof, and the doubts. Markers are confirmed as soon as they are sent, unless a test says else."""

    def setUp(self) -> None:
        self.attachment = Attachment(5.0, 20.0, lambda: 0.0)
        self.markers = self.attachment.markers
        self.now = 1000.0

    def send(self, *, confirm: bool = True) -> int:
        number = self.markers.send(self.now)
        if confirm:
            self.markers.confirmed(number, self.now)
        return number

    def met(self, number: int, after: float = 0.0) -> list[Step]:
        self.now += after
        return self.attachment.met(number, self.now)

    def tick(self, seconds: int, seen: Seen | None = None, *, answer: bool = False) -> list[Step]:
        """So many seconds; wanted markers are sent, and come back if the log answers. Returns the other steps."""
        steps = []
        for _ in range(seconds):
            self.now += 1
            for step in self.attachment.tick(seen or Seen(), self.now):
                if step is Step.SEND:
                    number = self.send()
                    if answer:
                        steps += self.met(number)
                else:
                    steps.append(step)
        return steps

    def make_ready(self, at: int | None = None) -> None:
        self.attachment.attached(at, self.now)
        self.met(self.send())
        self.attachment.bound(self.now)
        self.met(self.send())
        self.assertTrue(self.attachment.ready)

    # -- the order -----------------------------------------------------------------------------------------------------

    def test_boot(self) -> None:
        """Reading, binding when caught up, proving, ready: each after what it stands on."""
        attachment = self.attachment
        self.assertEqual(attachment.phase, Phase.ABSENT)
        self.assertEqual(attachment.attached(None, self.now), [Step.SEND])
        self.assertEqual(attachment.phase, Phase.READING)
        self.assertEqual(self.met(self.send(), 0.2), [Step.BIND])
        self.assertEqual(attachment.phase, Phase.BINDING)
        self.assertEqual(attachment.bound(self.now), [Step.SEND])
        self.assertEqual((attachment.phase, attachment.ready), (Phase.PROVING, False))
        self.assertEqual(self.met(self.send()), [Step.FORGET])
        self.assertEqual((attachment.phase, attachment.ready, attachment.doubt), (Phase.READY, True, None))

    def test_a_marker_that_took_long_asks_for_another(self) -> None:
        """The reader lags: only a marker that is back within a second says that it does not."""
        self.attachment.attached(None, self.now)
        self.assertEqual(self.met(self.send(), 1.5), [Step.SEND])
        self.assertEqual(self.attachment.phase, Phase.READING)
        self.assertEqual(self.met(self.send(), 1.0), [Step.BIND])

    def test_of_several_markers_the_last_asks(self) -> None:
        """Those before it come back before it, and ask for nothing: their number does not grow."""
        self.attachment.attached(None, self.now)
        first, second = self.send(), self.send()
        self.assertEqual(self.met(first, 3.0), [])
        self.assertEqual(self.met(second), [Step.SEND])

    def test_a_marker_from_before_the_queue_proves_nothing_of_it(self) -> None:
        """It was on its way when the queue was bound, and what was published then is not in the queue."""
        attachment = self.attachment
        attachment.attached(None, self.now)
        first, second = self.send(), self.send()
        self.met(first)
        attachment.bound(self.now)
        self.assertEqual((self.met(second), attachment.ready), ([], False))
        self.met(self.send())
        self.assertTrue(attachment.ready)

    def test_a_marker_from_before_the_connection_proves_nothing(self) -> None:
        """It is read again behind the offset at which the reader begins."""
        self.attachment.attached(None, self.now)
        number = self.send()
        self.attachment.lost()
        self.assertEqual(self.attachment.phase, Phase.ABSENT)
        self.attachment.attached(7, self.now)
        self.assertEqual(self.met(number), [])
        self.assertEqual(self.attachment.phase, Phase.READING)

    # -- a log made anew -----------------------------------------------------------------------------------------------

    def test_the_probe_finds_a_shorter_log(self) -> None:
        """Its end is below the offset at which the reader waits."""
        self.attachment.attached(1000, self.now)
        self.assertEqual(self.attachment.probed(self.send(), 12), [Step.START_OVER])

    def test_the_probe_finds_the_log_as_it_was(self) -> None:
        """Then it has no more to say."""
        self.attachment.attached(1000, self.now)
        number = self.send()
        self.assertEqual(self.attachment.probed(number, 1001), [])
        self.assertEqual(self.attachment.probed(number, 12), [])

    def test_an_old_marker_in_the_last_chunk_says_nothing(self) -> None:
        """It stands below that offset in the very log that was read."""
        self.make_ready()
        self.attachment.lost()
        self.attachment.attached(1000, self.now)
        self.assertEqual(self.attachment.probed(self.markers.newest, 990), [])
        self.assertEqual(self.attachment.probed(self.send(), 12), [Step.START_OVER])

    # -- while it is not ready -----------------------------------------------------------------------------------------

    def test_markers_are_sent_again(self) -> None:
        """After 1, 2 and 4 seconds, then each `marker_seconds`."""
        self.attachment.attached(None, self.now)
        begun, sent = self.now, []
        for _ in range(25):
            self.now += 1
            if Step.SEND in self.attachment.tick(Seen(), self.now):
                sent.append(self.now - begun)
        self.assertEqual(sent, [1, 3, 7, 12, 17, 22])

    def test_an_unbound_log(self) -> None:
        """What was confirmed does not come: said after `marker_seconds`, and the connection is tried anew at last."""
        self.attachment.attached(None, self.now)
        self.send()
        self.assertEqual((self.tick(4), self.attachment.doubt), ([], None))
        self.assertEqual((self.tick(1), self.attachment.doubt), ([], Doubt.MARKERS))
        self.assertEqual(self.tick(25), [Step.ABANDON])

    def test_patience_begins_when_there_is_nothing_more_to_read(self) -> None:
        """Not with a long read before."""
        self.attachment.attached(None, self.now)
        self.send()
        for last in range(60):
            self.tick(1, Seen(last))
        self.assertEqual((self.tick(29, Seen(59)), self.attachment.doubt), ([], Doubt.MARKERS))
        self.assertEqual(self.tick(1, Seen(59)), [Step.ABANDON])

    def test_much_to_read_is_no_unbound_log(self) -> None:
        """As long as records come, the marker may still be behind them."""
        self.attachment.attached(None, self.now)
        self.send()
        for last in range(60):
            self.assertEqual(self.tick(1, Seen(last)), [])
            self.assertIsNone(self.attachment.doubt)

    def test_a_broker_that_does_not_confirm(self) -> None:
        """A memory alarm, perhaps; nothing is said of the log."""
        self.attachment.attached(None, self.now)
        self.send(confirm=False)
        for _ in range(60):
            self.now += 1
            self.assertNotIn(Step.ABANDON, self.attachment.tick(Seen(), self.now))
        self.assertEqual(self.attachment.doubt, Doubt.UNCONFIRMED)

    def test_no_way_to_send(self) -> None:
        """The second connection is missing."""
        self.attachment.attached(None, self.now)
        for _ in range(5):
            self.now += 1
            self.attachment.tick(Seen(), self.now)
        self.assertEqual(self.attachment.doubt, Doubt.UNSENT)
        self.assertEqual((self.met(self.send()), self.attachment.doubt), ([Step.BIND], None))

    def test_returned_markers(self) -> None:
        """Records of others come, and every marker of ours had no queue: marker.# alone is not bound."""
        self.attachment.attached(None, self.now)
        for last in range(10):
            if self.attachment.tick(Seen(last), self.now) or last == 0:
                self.markers.returned(self.send())
            self.now += 1
        self.attachment.tick(Seen(10), self.now)
        self.assertEqual(self.attachment.doubt, Doubt.MARKERS)

    # -- while it is ready ---------------------------------------------------------------------------------------------

    def test_a_quiet_log_gets_one_beat(self) -> None:
        """After `beat_seconds`; when it comes back the time begins anew."""
        self.make_ready()
        self.assertEqual(self.attachment.tick(Seen(5), self.now), [])
        for last in (5, 6):
            sent = [step for _ in range(19) for step in self.beat_tick(last)]
            self.assertEqual(sent, [])
            self.assertEqual(self.beat_tick(last), [Step.SEND])
            self.met(self.send())
            self.now += 1
            self.attachment.tick(Seen(last + 1), self.now)

    def beat_tick(self, last: int) -> list[Step]:
        self.now += 1
        return self.attachment.tick(Seen(last), self.now)

    def test_a_log_that_others_write_to_gets_none(self) -> None:
        """Nor does a marker of another process make this one answer."""
        self.make_ready()
        newest = self.markers.newest
        for last in range(100):
            self.tick(15, Seen(last))
        self.assertEqual(self.markers.newest, newest)

    def test_chance_spreads_the_beats(self) -> None:
        """Up to a quarter later, so that one of many processes is first, and the others are spared."""
        for chance, seconds in ((0.0, 20), (1.0, 25)):
            self.attachment = Attachment(5.0, 20.0, lambda chance=chance: chance)  # type: ignore[misc]
            self.markers = self.attachment.markers
            self.make_ready()
            newest = self.markers.newest
            self.tick(seconds - 1)
            self.assertEqual(self.markers.newest, newest)
            self.tick(1)
            self.assertEqual(self.markers.newest, newest + 1)

    def test_a_beat_that_does_not_come_back(self) -> None:
        """The log is not bound any more: not ready, until a marker comes."""
        self.make_ready()
        self.tick(25)
        self.assertEqual((self.attachment.phase, self.attachment.doubt), (Phase.DOUBTFUL, Doubt.MARKERS))
        self.assertEqual(self.tick(120), [])
        self.assertEqual((self.tick(5, answer=True), self.attachment.ready), ([Step.FORGET], True))

    def test_a_process_that_was_stopped_does_not_blame_the_log(self) -> None:
        """A beat that came back meanwhile has still to be read."""
        self.make_ready()
        self.tick(21)
        self.assertGreater(self.markers.missing(self.now), 0)
        self.now += 60
        self.tick(1)
        self.assertTrue(self.attachment.ready)
        self.tick(5)
        self.assertFalse(self.attachment.ready)

    def test_a_beat_that_is_not_confirmed(self) -> None:
        """Nobody can publish: nothing passes this process by."""
        self.make_ready()
        self.tick(19)
        self.assertEqual(self.beat_tick(-1), [Step.SEND])
        self.send(confirm=False)
        wanted: list[Step] = []
        for _ in range(60):
            self.now += 1
            wanted += self.attachment.tick(Seen(), self.now)
        self.assertEqual((self.attachment.ready, wanted), (True, [Step.SEND] * 12))

    def test_events_are_not_bound(self) -> None:
        """The queue brought one, a marker sent later came back, and the log has not shown it."""
        self.make_ready()
        since = self.now + 1
        self.assertEqual(self.tick(5, Seen(1, 1, since), answer=True), [])
        self.assertTrue(self.attachment.ready)
        self.assertEqual(self.tick(2, Seen(2, 1, since), answer=True), [Step.FORGET])
        self.assertEqual((self.attachment.phase, self.attachment.doubt), (Phase.DOUBTFUL, Doubt.EVENTS))

    def make_doubtful(self) -> None:
        self.make_ready()
        since = self.now + 1
        self.tick(7, Seen(2, 1, since), answer=True)
        self.assertEqual(self.attachment.doubt, Doubt.EVENTS)

    def test_an_event_in_the_log_ends_that(self) -> None:
        """It is bound again."""
        self.make_doubtful()
        self.assertEqual(self.tick(1, Seen(3, 1)), [])
        self.assertEqual((self.tick(1, Seen(4, 2)), self.attachment.ready), ([Step.FORGET], True))

    def test_a_quiet_minute_ends_it(self) -> None:
        """A site that publishes once an hour is not shut out for an hour after the binding is back."""
        self.make_doubtful()
        self.tick(58, Seen(3, 1))
        self.assertFalse(self.attachment.ready)
        self.tick(2, Seen(3, 1))
        self.assertTrue(self.attachment.ready)

    def test_another_event_that_is_missing_prolongs_it(self) -> None:
        """The minute counts from the last one."""
        self.make_doubtful()
        self.tick(50, Seen(3, 1))
        self.assertEqual(self.tick(1, Seen(3, 1, self.now - 10)), [Step.FORGET])
        self.tick(50, Seen(3, 1))
        self.assertFalse(self.attachment.ready)

    def test_a_marker_that_may_have_overtaken_the_event_proves_nothing(self) -> None:
        """They take two ways into the log; half a second later is not late enough, and another one is sent."""
        self.make_ready()
        newest, since = self.markers.newest, self.now - 0.5
        self.assertEqual(self.tick(5, Seen(1, 1, since)), [])
        self.assertEqual((self.attachment.ready, self.markers.newest), (True, newest + 1))
        self.met(newest + 1)
        self.assertEqual(self.tick(1, Seen(2, 1, since)), [Step.FORGET])
        self.assertFalse(self.attachment.ready)
