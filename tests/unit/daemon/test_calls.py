"""Calls in flight: how many, how long, and exactly one answer each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from livepush.broker.envelope import Event
from livepush.daemon.calls import Calls, CallSettings
from livepush.daemon.entitlement import Snapshot
from livepush.daemon.errors import Busy, LoggedOut, Refusal
from livepush.wire.requests import Call
from tests.unit.daemon.doubles import Browser, make_client, make_hub, make_snapshot


class FakeThreads:
    """Begins and ends jobs when the test says so."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Deferred[Any], Callable[[], Any]]] = []
        self.full = False

    def start(self) -> None: ...

    def stop(self) -> Deferred[None]:
        return Deferred()

    async def run(self, job: Callable[[], Any]) -> Any:
        if self.full:
            raise Busy
        done: Deferred[Any] = Deferred()
        self.waiting.append((done, job))
        return await done

    def begin(self, number: int = 0) -> Callable[[], None]:
        """A thread takes a job; what is returned lets the reactor know how it ended."""
        done, job = self.waiting.pop(number)
        try:
            answer = job()
        except Exception as error:
            failure = error
            return lambda: done.errback(failure)
        return lambda: done.callback(answer)


class Case(SynchronousTestCase):
    """A hub with calls."""

    def setUp(self) -> None:
        self.clock, self.threads = Clock(), FakeThreads()
        self.done: list[tuple[str | None, str | None, Call]] = []
        self.outcome: Any = {"fine": True}
        self.hub = make_hub(self.clock)
        self.make()

    def make(self, **changes: Any) -> None:
        self.calls = self.hub.calls = Calls(CallSettings(**changes), self.threads, self.perform, self.clock)

    def perform(self, snapshot: Snapshot, tab: str | None, call: Call) -> Any:
        self.done.append((snapshot.user, tab, call))
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome

    def browser(self) -> Browser:
        return Browser(self.hub, make_client()).greets(tab="k3f9")

    def call(self, browser: Browser, n: int = 1, **changes: Any) -> list[Any]:
        return browser.says(**{"op": "call", "n": n, "channel": "orders", "type": "lock", "data": {}, **changes})


def codes(messages: list[Any]) -> list[tuple[int, str]]:
    return [(message["n"], message.get("code", "ok")) for message in messages]


class AnswerTests(Case):
    """One call."""

    def test_answer(self) -> None:
        """The answer comes when the thread has it, with the call's number."""
        browser = self.browser()
        self.assertEqual(self.call(browser, 5, data={"order": 3}), [])
        self.threads.begin()()
        self.assertEqual(browser.link.messages(), [{"op": "ok", "data": {"fine": True}, "n": 5}])
        self.assertEqual(self.done, [("7", "k3f9", Call(5, "orders", "lock", {"order": 3}))])
        self.assertEqual(self.calls.in_flight, 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_refusal(self) -> None:
        """The site's no goes to the page word for word."""
        browser = self.browser()
        self.call(browser)
        self.outcome = Refusal("locked", "Somebody else was faster.", True)
        self.threads.begin()()
        expected = {"op": "error", "code": "locked", "retry": True, "message": "Somebody else was faster.", "n": 1}
        self.assertEqual(browser.link.messages(), [expected])

    def test_fault(self) -> None:
        """A fault of ours is told without a detail, and logged."""
        browser = self.browser()
        self.call(browser)
        self.outcome = RuntimeError("s3cret")
        self.threads.begin()()
        (message,) = browser.link.messages()
        self.assertEqual(message["code"], "failed")
        self.assertNotIn("s3cret", message["message"])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_login_ended(self) -> None:
        """A call of somebody who has logged out ends his connection, and nothing that is pending is his any more."""
        browser = self.browser()
        self.call(browser)
        self.outcome = LoggedOut()
        self.hub.event(Event("orders", "lock", {}), "p-1", 9, 50)
        self.threads.begin()()
        self.assertEqual(browser.link.code, 4401)
        self.assertEqual(browser.link.messages(), [])

    def test_names(self) -> None:
        """A channel or type that can't be one never reaches a thread."""
        browser = self.browser()
        self.assertEqual(codes(self.call(browser, channel="or ders")), [(1, "bad_channel")])
        for type_ in ("", "a b", "*", "x" * 61, "é"):
            self.assertEqual(codes(self.call(browser, type=type_)), [(1, "bad_type")])
        self.assertEqual(self.threads.waiting, [])

    def test_without_number(self) -> None:
        """A call without a number is carried out, and answered without one."""
        browser = self.browser()
        browser.says(op="call", channel="orders", type="lock", data={})
        self.threads.begin()()
        self.assertEqual(browser.link.messages(), [{"op": "ok", "data": {"fine": True}}])

    def test_before_hello(self) -> None:
        """Who has not said hello calls nothing."""
        browser = Browser(self.hub, make_client())
        self.assertEqual(codes(self.call(browser)), [(1, "unexpected")])
        self.assertEqual(self.threads.waiting, [])

    def test_other_requests_go_on(self) -> None:
        """While a call is under way the connection is read, and later calls may be answered first."""
        browser = self.browser()
        self.call(browser, 1)
        self.call(browser, 2)
        self.assertFalse(browser.link.reading_paused)
        self.assertEqual(browser.says(op="unsubscribe", n=3, channel="orders")[0]["op"], "ok")
        self.threads.begin(1)()
        self.assertEqual(codes(browser.link.messages()), [(2, "ok")])
        self.threads.begin(0)()
        self.assertEqual(codes(browser.link.messages()), [(1, "ok")])


class BoundsTests(Case):
    """How many, and how long."""

    def test_in_flight(self) -> None:
        """A connection may have so many at a time; one that ends makes room, and others have their own."""
        self.make(in_flight=2)
        browser, other = self.browser(), self.browser()
        self.call(browser, 1)
        self.call(browser, 2)
        (refused,) = self.call(browser, 3)
        self.assertEqual((refused["code"], refused["retry"]), ("too_many_calls", True))
        self.assertEqual(self.call(other, 1), [])
        self.threads.begin()()
        browser.link.messages()
        self.assertEqual(self.call(browser, 4), [])
        self.assertEqual(self.calls.in_flight, 3)

    def test_full(self) -> None:
        """Where no more may wait a call is refused, not begun, and may be tried again."""
        browser = self.browser()
        self.threads.full = True
        (refused,) = self.call(browser)
        self.assertEqual((refused["code"], refused["retry"]), ("busy", True))
        self.assertEqual((self.done, self.calls.in_flight, self.clock.getDelayedCalls()), ([], 0, []))

    def test_waited_too_long(self) -> None:
        """A call that no thread took in time is told as not begun, and that is true for ever."""
        browser = self.browser()
        self.call(browser)
        self.clock.advance(10)
        (refused,) = browser.link.messages()
        self.assertEqual((refused["code"], refused["retry"]), ("busy", True))
        self.assertEqual(self.calls.in_flight, 0)
        self.threads.begin()()
        self.assertEqual((self.done, browser.link.messages()), ([], []))

    def test_too_slow(self) -> None:
        """A call that takes too long is told; its answer comes to nothing, and until then it counts."""
        self.make(in_flight=1)
        browser = self.browser()
        self.call(browser)
        ends = self.threads.begin()
        self.clock.advance(10)
        (told,) = browser.link.messages()
        self.assertEqual((told["code"], told["retry"]), ("timeout", False))
        self.assertEqual(codes(self.call(browser, 2)), [(2, "too_many_calls")])
        ends()
        self.assertEqual(browser.link.messages(), [])
        self.assertEqual(self.call(browser, 3), [])

    def test_settings(self) -> None:
        """Bounds that bound nothing are refused."""
        for changes in ({"threads": 0}, {"queue": 0}, {"in_flight": True}, {"seconds": 0}, {"seconds": float("nan")}):
            self.assertRaises(ValueError, CallSettings, **changes)


class AnyOrderTests(SynchronousTestCase):
    """Whatever comes first: thread, time, or the end of the connection."""

    @given(st.lists(st.sampled_from(["call", "begin", "end", "time", "go"]), max_size=40))
    @settings(max_examples=150)
    def test_exactly_one_answer(self, steps: list[str]) -> None:
        """Every call has one answer, or its connection went; one that is told as not begun never begins."""
        case = Case()
        case.setUp()
        case.make(in_flight=3, seconds=10)
        browser = case.browser()
        called, told, ends = 0, dict[int, str](), list[Callable[[], None]]()

        def read() -> None:
            for n, code in codes(browser.link.messages()):
                self.assertNotIn(n, told)
                told[n] = code

        for step in steps:
            match step:
                case "call":
                    called += 1
                    browser.connection.received(b'{"op":"call","n":%d,"channel":"a","type":"b","data":{}}' % called)
                case "begin" if case.threads.waiting:
                    ends.append(case.threads.begin())
                case "end" if ends:
                    ends.pop(0)()
                case "time":
                    case.clock.advance(4)
                case "go":
                    browser.connection.abort()
                    break
            read()
            self.assertLessEqual(case.calls.in_flight, 3)
        gone = browser.connection.ended
        while case.threads.waiting:
            ends.append(case.threads.begin())
        for end in ends:
            end()
        case.clock.advance(10)
        read()
        self.assertEqual((case.calls.in_flight, case.clock.getDelayedCalls()), (0, []))
        if not gone:
            self.assertEqual(sorted(told), list(range(1, called + 1)))
        begun = {call.n for *_, call in case.done}
        self.assertFalse(begun & {n for n, code in told.items() if code in ("busy", "too_many_calls")})
        self.assertTrue({n for n, code in told.items() if code in ("ok", "timeout")} <= begun)


class EndTests(Case):
    """A connection that goes."""

    def test_waiting(self) -> None:
        """What has not begun never does."""
        browser = self.browser()
        self.call(browser)
        browser.connection.abort()
        self.threads.begin()()
        self.assertEqual((self.done, self.calls.in_flight, self.clock.getDelayedCalls()), ([], 0, []))

    def test_begun(self) -> None:
        """What has begun ends without a word, however it ends."""
        for outcome in ({"fine": True}, Refusal("no", "No."), LoggedOut()):
            self.outcome = outcome
            browser = self.browser()
            self.call(browser)
            ends = self.threads.begin()
            browser.link.messages()
            browser.connection.abort()
            ends()
            self.assertEqual((browser.link.messages(), browser.link.code), ([], None))
        self.assertEqual(self.calls.in_flight, 0)

    def test_comes_back(self) -> None:
        """Who comes back has no room of what still runs for him; what never begins does not count."""
        self.make(in_flight=2)
        browser, other = self.browser(), Browser(self.hub, make_client(8)).greets(tab="k3f9")
        self.call(browser, 1)
        self.call(browser, 2)
        ends = self.threads.begin()
        browser.connection.abort()
        again = self.browser()
        self.assertEqual(self.call(again, 1), [])
        self.assertEqual(codes(self.call(again, 2)), [(2, "too_many_calls")])
        self.assertEqual(self.call(other, 1) + self.call(other, 2), [])
        ends()
        self.assertEqual(self.call(again, 3), [])
        self.assertEqual(codes(self.call(again, 4)), [(4, "too_many_calls")])

    def test_nobody_comes_back(self) -> None:
        """Visitors who are nobody take no room from each other."""
        self.make(in_flight=1)
        browser, other = (Browser(self.hub, make_snapshot(None)).greets() for _ in range(2))
        self.call(browser)
        ends = self.threads.begin()
        browser.connection.abort()
        self.assertEqual(self.call(other), [])
        ends()

    def test_late_and_gone(self) -> None:
        """A call that was told as late and whose connection then goes leaves nothing behind."""
        browser = self.browser()
        self.call(browser)
        ends = self.threads.begin()
        self.clock.advance(10)
        browser.connection.abort()
        ends()
        self.assertEqual((self.calls.in_flight, self.clock.getDelayedCalls()), (0, []))
