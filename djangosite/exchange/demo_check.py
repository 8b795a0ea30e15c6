"""`python -m exchange.demo_check`, for `make demo-check`: the demo on free ports, looked at without a browser.

anna, boris (clients), mod (moderator) and guest log in and connect. anna locks an order and finishes it, locks another
and lets its lock go; boris tries what he may not. Prints what each received; exit 0 only if all is as it should be.
Standard library only. It ends within 60 s in any case.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from exchange.listener import Listener, Refused
from exchange.running import NotReady, RunningDemo
from exchange.visitor import Visitor

PASSWORD = "livepush"  # noqa: S105 - the demo's
NAMES = ("anna", "boris", "mod", "guest")
AUDIENCES = {"anna": "client", "boris": "client", "mod": "moderator", "guest": None}
LOCK_SECONDS = 5
"""ORDERS_FREE_LOCK_TIME of this run: more than anna needs for lock and done, even on a slow machine."""
DEADLINE_SECONDS = 50
"""And then the demo gets its time to end."""

Seen = list[tuple[str, dict[str, Any]]]


class Findings:
    """What was seen, printed as it is seen."""

    def __init__(self) -> None:
        self.bad = 0

    def expect(self, what: str, seen: object, expected: object) -> None:
        """One line; with what it should be if it is not."""
        good = seen == expected
        self.bad += not good
        print(f"{'ok ' if good else 'BAD'} {what}: {_short(seen)}" + ("" if good else f", expected {_short(expected)}"))


def check(demo: RunningDemo, findings: Findings) -> None:
    """Everything, with the demo ready."""
    visitors = {name: Visitor(demo.url, name, PASSWORD) for name in NAMES}
    port = int(demo.variables["PUSH_PORT"])
    for name, visitor in visitors.items():
        shown = visitor.orders()
        findings.expect(f"{name} sees", f"{len(shown)} orders", "0 orders" if name == "guest" else "8 orders")
    findings.expect("guest is told why", "no part in the exchange" in visitors["guest"].page(), True)

    with _listening(visitors, port) as listeners:
        for name, listener in listeners.items():
            findings.expect(f"{name} listens to orders as", listener.channels.get("orders"), AUDIENCES[name])
        first, second = visitors["anna"].orders()[:2]
        me = int(next(channel for channel in listeners["anna"].channels if channel != "orders").partition(".")[2])
        data = {"order": first, "user": me}
        lock = [("lock", {**data, "version": 2})]

        visitors["anna"].act(first, "lock", listeners["anna"].tab)
        _expect_seen(findings, f"anna locks order {first}", listeners, anna=[], boris=lock, mod=lock, guest=[])
        for name in ("anna", "boris", "mod"):
            locked = "order-row_is_locked" in visitors[name].classes(first)
            findings.expect(f"{name} reloads: order {first} is locked", locked, True)

        visitors["anna"].act(first, "done", listeners["anna"].tab)
        done = {**data, "version": 3}
        hide, highlight = {**done, "action": "hide"}, {**done, "action": "highlight"}
        _expect_seen(
            findings,
            f"anna finishes order {first}",
            listeners,
            anna=[],
            boris=[("done", hide)],
            mod=[("done", highlight)],
            guest=[],
        )
        for name, mark in (("anna", "hidden"), ("boris", "hidden"), ("mod", "order-row_is_done")):
            row = {"order-row", f"id_order_row__{first}"}
            findings.expect(f"{name} reloads: order {first} is", visitors[name].classes(first) - row, {mark})

        lock = [("lock", {"order": second, "user": me, "version": 2})]
        visitors["anna"].act(second, "lock", listeners["anna"].tab)
        _expect_seen(findings, f"anna locks order {second}", listeners, anna=[], boris=lock, mod=lock, guest=[])
        refused = "Somebody else has locked" in visitors["boris"].act(second, "lock")[1]
        findings.expect(f"boris tries to lock order {second}: a message", refused, True)
        findings.expect("guest tries the same: status", visitors["guest"].act(second, "lock")[0], 403)
        findings.expect("anna tries an unknown order: status", visitors["anna"].act(10**6, "lock")[0], 404)
        free = [("free", {"order": second, "version": 3})]
        what = f"the lock of order {second} is freed, and boris's refusal was no event"
        _expect_seen(findings, what, listeners, anna=free, boris=free, mod=free, guest=[])


def _expect_seen(findings: Findings, what: str, listeners: dict[str, Listener], **expected: Seen) -> None:
    """Each has received exactly this since the last time."""
    seen: dict[str, list[dict[str, Any]]] = {}
    for name, events in expected.items():
        try:
            seen[name] = [listeners[name].next_event() for _ in events]
        except TimeoutError:
            seen[name] = []
    # Whoever should be told has been. The daemon writes an event to all in one turn, so what comes before the answer to
    # a ping that is sent now is all there is.
    for name, events in expected.items():
        received = [(event["type"], event["data"]) for event in (*seen[name], *listeners[name].settled())]
        findings.expect(f"{what}; {name} receives", received, events)


@contextmanager
def _listening(visitors: dict[str, Visitor], port: int) -> Iterator[dict[str, Listener]]:
    listeners: dict[str, Listener] = {}
    try:
        for name, visitor in visitors.items():
            listeners[name] = visitor.listen(port, tab=f"tabof{name}")
        yield listeners
    finally:
        for listener in listeners.values():
            listener.close()


def _short(value: object) -> str:
    if value == []:
        return "nothing"
    if isinstance(value, list):
        return " ".join(f"{kind} {data}" for kind, data in value)
    return ", ".join(sorted(value)) if isinstance(value, set) else str(value)


def main() -> int:
    """Run the check; the exit status."""

    def give_up(number: int, frame: FrameType | None) -> None:
        raise NotReady(f"not through within {DEADLINE_SECONDS} s")

    def asked(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    for number, handler in ((signal.SIGALRM, give_up), (signal.SIGTERM, asked), (signal.SIGHUP, asked)):
        signal.signal(number, handler)
    signal.alarm(DEADLINE_SECONDS)
    findings = Findings()
    variables = {"ORDERS_FREE_LOCK_TIME": str(LOCK_SECONDS)}
    if broker := os.environ.get("BROKER"):
        variables["BROKER"] = broker
    with tempfile.TemporaryDirectory(prefix="livepush-demo-") as folder, RunningDemo(Path(folder), variables) as demo:
        try:
            check(demo.wait_ready(), findings)
        except (NotReady, Refused, OSError, LookupError, StopIteration) as error:
            findings.bad += 1
            print(f"BAD {type(error).__name__}: {error}")
        except KeyboardInterrupt:
            return 130
        finally:
            signal.alarm(0)
        if findings.bad:
            print("\nWhat the demo said:", demo.output, "", sep="\n")
    print(f"demo-check: {findings.bad} findings are bad" if findings.bad else "demo-check: all is as it should be")
    return 1 if findings.bad else 0


if __name__ == "__main__":
    sys.exit(main())
