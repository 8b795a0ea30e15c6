"""The publisher, a process of its own: Django's `publish()`, or pika alone for the baseline.

    python -m bench.publisher django|pika --progress FILE --subscribers 1000 --window 32 --seconds 3 --server PID
    python -m bench.publisher django|pika --progress FILE --subscribers 100  --rate 50 --seconds 4

It reads wsload's counters in shared memory, so that it can keep so many events outstanding and no more, and prints one
line of JSON.
"""

from __future__ import annotations

import argparse
import json
import mmap
import os
import struct
import time
from collections.abc import Callable
from typing import Any

from bench.process import cpu_seconds

Publish = Callable[[dict[str, Any]], None]

WARM_SECONDS = 0.7


def by_django() -> Publish:
    """As a view does it: checked, encoded, numbered and confirmed."""
    import django

    django.setup()
    from livepush.django import publish

    def send(data: dict[str, Any]) -> None:
        publish("bench", "lock", data)

    return send


def by_pika() -> Publish:
    """The least that reaches the exchange: no number, no confirm."""
    import pika

    channel = pika.BlockingConnection(pika.URLParameters(os.environ["LIVEPUSH_BROKER_URL"])).channel()
    properties = pika.BasicProperties(content_type="application/json")

    def send(data: dict[str, Any]) -> None:
        channel.basic_publish("livepush", "event.bench.lock", json.dumps(data).encode(), properties)

    return send


class Progress:
    """What wsload has counted so far."""

    def __init__(self, path: str) -> None:
        with open(path, "r+b") as file:
            self._memory = mmap.mmap(file.fileno(), 40)

    @property
    def events(self) -> int:
        """Delivered to all connections together."""
        return int(struct.unpack_from("Q", self._memory, 8)[0])


def make_event(number: int) -> dict[str, Any]:
    """An order's lock, with what wsload looks for: `n` grows by one, `t` is now."""
    return {
        "order": 100_000 + number,
        "user": 42,
        "name": "Ada Lovelace",
        "perm": "orders.lock",
        "n": number + 1,
        "t": time.monotonic_ns(),
    }


def closed_loop(send: Publish, progress: Progress, given: argparse.Namespace) -> dict[str, Any]:
    """Publishes as fast as events are delivered, `window` of them outstanding."""
    sent, begun, at = 0, time.monotonic(), None
    end = begun + WARM_SECONDS + given.seconds
    events = cpu = 0.0
    while (now := time.monotonic()) < end:
        if at is None and now > begun + WARM_SECONDS:
            at, events, cpu = now, progress.events, cpu_seconds(given.server)
        if sent * given.subscribers - progress.events < given.window * given.subscribers:
            send(make_event(sent))
            sent += 1
        else:
            time.sleep(0.0003)
    assert at is not None
    took, events, cpu = time.monotonic() - at, progress.events - events, cpu_seconds(given.server) - cpu
    return {"sent": sent, "per_second": events / took, "per_cpu_second": events / max(cpu, 0.01), "busy": cpu / took}


def open_loop(send: Publish, given: argparse.Namespace) -> dict[str, Any]:
    """Publishes at a rate, whatever is delivered."""
    begun, total = time.monotonic(), int(given.rate * given.seconds)
    for sent in range(total):
        time.sleep(max(0.0, begun + sent / given.rate - time.monotonic()))
        send(make_event(sent))
    return {"sent": total}


def main() -> None:
    """One measurement."""
    arguments = argparse.ArgumentParser(prog="python -m bench.publisher")
    arguments.add_argument("kind", choices=("django", "pika"))
    arguments.add_argument("--progress", required=True)
    arguments.add_argument("--subscribers", type=int, required=True)
    arguments.add_argument("--seconds", type=float, required=True)
    arguments.add_argument("--window", type=int, default=0)
    arguments.add_argument("--rate", type=float, default=0)
    arguments.add_argument("--server", type=int, default=0)
    given = arguments.parse_args()
    send = by_django() if given.kind == "django" else by_pika()
    progress = Progress(given.progress)
    result = closed_loop(send, progress, given) if given.window else open_loop(send, given)
    limit = time.monotonic() + 5
    while progress.events < result["sent"] * given.subscribers and time.monotonic() < limit:
        time.sleep(0.01)
    result["lost"] = result["sent"] * given.subscribers - progress.events
    print(json.dumps(result))


if __name__ == "__main__":
    main()
