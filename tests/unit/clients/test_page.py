"""The rules of a page, as `livepush.js` has them, without a browser."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.clients.page import Happening, Line, Page

Message = dict[str, Any]


def welcome(**channels: Message) -> Message:
    return {"op": "welcome", "n": 0, "at": "p.0", "channels": channels or {"news": {"audience": "reader"}}}


def event(number: int, channel: str = "news", **more: Any) -> Message:
    return {"op": "event", "channel": channel, "id": f"w-{number}", "at": f"p.{number}", "data": {}, **more}


class PageTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.page = Page("t1", ("rooms.1",))

    def connect(self, **channels: Message) -> Line:
        """A welcomed socket."""
        line = self.page.open()
        self.page.receive(line, welcome(**channels))
        return line

    def told(self) -> list[tuple[str, str, str]]:
        """What happened since it was asked last: what, where, and why or which event."""
        happened, self.page.happened = self.page.happened, []
        return [(each.what, each.channel, each.why or self._id(each)) for each in happened]

    def _id(self, happening: Happening) -> str:
        return "" if happening.message is None else str(happening.message["id"])

    def test_first_hello(self) -> None:
        """The first hello takes the declared channels; what the page wants besides is asked for after the welcome."""
        line = self.page.open()
        self.assertEqual(line.hello, {"op": "hello", "n": 0, "tab": "t1"})
        self.assertEqual(self.page.receive(line, welcome()), [{"op": "subscribe", "n": 1, "channel": "rooms.1"}])
        self.page.receive(line, {"op": "ok", "n": 1, "channel": "rooms.1", "audience": "client", "at": "p.2"})
        self.assertEqual(self.told(), [("granted", "news", "reader"), ("granted", "rooms.1", "client")])

    def test_later_hello(self) -> None:
        """A later one names all channels, each with its own position."""
        line = self.connect()
        self.page.receive(line, event(4))
        self.page.lost(line)
        self.assertEqual(self.page.open().hello["channels"], {"rooms.1": None, "news": "p.4"})

    def test_positions(self) -> None:
        """An event moves its own channel, a heartbeat those that are granted."""
        line = self.connect(news={"audience": "reader"}, orders={"audience": "client"})
        self.page.receive(line, event(4))
        self.assertEqual(self.page.positions, {"news": "p.4", "orders": "p.0"})
        self.page.receive(line, {"op": "gone", "channel": "orders", "why": "permission"})
        self.page.receive(line, {"op": "heartbeat", "at": "p.9"})
        self.assertEqual(self.page.positions, {"news": "p.9", "orders": "p.0"})

    def test_dedupe(self) -> None:
        """What is not above its publisher's highest number on its channel is dropped, whichever socket brings it."""
        first = self.connect()
        self.page.receive(first, event(1))
        second = self.page.open()
        for number in (1, 2):
            self.page.receive(second, event(number))
        self.page.receive(first, event(2))
        self.page.receive(first, event(1, "orders"))
        wanted = [("event", "news", "w-1"), ("dropped", "news", "w-1"), ("event", "news", "w-2")]
        self.assertEqual(self.told()[1:], [*wanted, ("dropped", "news", "w-2"), ("event", "orders", "w-1")])

    def test_replayed(self) -> None:
        """Events before the welcome come out of the past."""
        line = self.page.open()
        self.page.receive(line, event(1))
        self.page.receive(line, welcome())
        self.page.receive(line, event(2))
        self.assertEqual([each.replayed for each in self.page.happened if each.what == "event"], [True, False])

    def test_versions(self) -> None:
        """An older version of a key is outdated once a newer one has been seen; the same one is not."""
        line = self.connect()
        for number, version in ((1, 7), (2, 6), (3, 7)):
            self.page.receive(line, event(number, key="k", version=version))
        self.assertEqual([each[0] for each in self.told()[1:]], ["event", "outdated", "event"])

    def test_resync(self) -> None:
        """A resync is told, wherever it stands, and the channel goes on from its position."""
        line = self.connect()
        self.page.receive(line, {"op": "resync", "channel": "news", "why": "hole", "at": "p.7"})
        self.assertEqual(self.page.positions["news"], "p.7")
        self.page.lost(line)
        self.connect(news={"audience": "reader", "resync": "trimmed"})
        reloads = [each for each in self.told() if each[0] == "resync"]
        self.assertEqual(reloads, [("resync", "news", "hole"), ("resync", "news", "trimmed")])

    def test_back(self) -> None:
        """What was taken away and given back is reloaded."""
        line = self.connect()
        self.page.receive(line, {"op": "gone", "channel": "news", "why": "permission"})
        self.page.receive(line, {"op": "back", "channel": "news", "audience": "reader", "at": "p.5"})
        self.assertEqual([each[0] for each in self.told()], ["granted", "gone", "granted", "resync"])

    def test_second_socket(self) -> None:
        """A second socket takes over when it is welcomed, and asks for what its hello did not name."""
        first = self.connect()
        second = self.page.open()
        self.page.channels.append("orders.5")
        self.page.positions["orders.5"] = "p.3"
        requests = self.page.receive(second, welcome())
        self.assertEqual([(each["channel"], each["since"]) for each in requests], [("orders.5", "p.3")])
        self.assertTrue(first.over)
        self.told()
        self.page.receive(first, event(1))
        self.assertEqual(self.told(), [])

    def test_without_a_position(self) -> None:
        """A channel that was granted before and is named without a position is reloaded."""
        line = self.page.open()
        self.page.receive(line, {"op": "welcome", "n": 0, "channels": {"news": {"audience": "reader"}}})
        self.page.lost(line)
        self.connect()
        self.assertEqual([each for each in self.told() if each[0] == "resync"], [("resync", "news", "restart")])
