"""All pages come back at once, and everybody is looked at anew: how long until the last one hears again.

    python -m bench.storm                      # 5,000 pages of as many users; half a minute
    python -m bench.storm --connections 10000

One process of the daemon on a RabbitMQ of its own, users and sessions in SQLite. All handshakes begin in the same
moment, as after a restart without any jitter, and each page says hello. Then a control message for everybody is
published, with an event behind it: nobody may hear that before he has been looked up anew.

    back        from the first handshake to the last welcome
    everybody   from the message to each page's `recv()` of the event
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.measure import Load, build_wsload
from bench.process import OTHER_CORE, cpu_seconds, pin
from bench.subject import ROOT, SUBJECTS, running
from livepush.broker.backlog import Draft
from livepush.broker.envelope import Control, Event, Kind, encode_control, encode_event
from livepush.broker.names import CONTROL_IDENTITY_KEY, event_key
from livepush.broker.publisher import Publisher, PublisherSettings
from livepush.broker.url import BrokerURL
from tests.servers.rabbitmq import PrivateRabbitMQ

HEAR_SECONDS = 30.0
WARM_SECONDS = 5.0
"""What is remembered of who has just come is void by then."""


def measure(url: str, folder: Path, count: int) -> None:
    """Prints both figures.

    Args:
        url: of a broker that nobody else uses.
        folder: with the site and wsload.
        count: pages.
    """
    with running(SUBJECTS["rabbitmq"], folder, lambda: url) as server:
        busy, begun = cpu_seconds(server.server.pid), time.monotonic()
        load = Load(folder / "wsload", server, count, "--inflight", str(count))
        back, busy = time.monotonic() - begun, cpu_seconds(server.server.pid) - busy
        publisher = Publisher(PublisherSettings(BrokerURL.parse(url)))
        try:
            time.sleep(WARM_SECONDS)
            control, key = encode_control(Control("identity")), event_key("bench", "told")
            publisher.publish(Draft(Kind.CONTROL, CONTROL_IDENTITY_KEY, control))
            event = encode_event(Event("bench", "told", {"t": time.monotonic_ns(), "n": 1}))
            publisher.publish(Draft(Kind.EVENT, key, event)).result(HEAR_SECONDS)
            time.sleep(HEAR_SECONDS)
        finally:
            publisher.close(0.0)
        heard = load.end()
    latency = {name: heard["latency_us"][name] / 1e6 for name in ("p50", "p99", "max")}
    print(f"{count} pages back: {back:.1f} s, of which the daemon's core was busy for {busy:.1f} s")
    print(f"everybody: {heard['events']} heard, p50 {latency['p50']:.2f} s, p99 {latency['p99']:.2f} s, ", end="")
    print(f"the last {latency['max']:.2f} s")


def main() -> None:
    """Prepares the site and measures."""
    arguments = argparse.ArgumentParser(prog="python -m bench.storm")
    arguments.add_argument("--connections", type=int, default=5_000)
    count: int = arguments.parse_args().connections
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if count + 500 > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(count + 500, hard), hard))
    pin(OTHER_CORE)
    folder = Path(tempfile.mkdtemp(prefix="livepush-storm-"))
    node = PrivateRabbitMQ()
    try:
        build_wsload(folder)
        environ = {**os.environ, "BENCH_FOLDER": str(folder)}
        subprocess.run([sys.executable, "-m", "bench.site.prepare", str(count)], env=environ, cwd=ROOT, check=True)
        node.start()
        measure(node.fresh_vhost().url(), folder, count)
    finally:
        node.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
