"""The four measurements, each of one running subject."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.process import StartFailed, resident_kb
from bench.subject import ROOT, Running

WINDOW = 32
RATE = 50
WARM_CONNECTIONS = 20


@dataclass(frozen=True, slots=True)
class Throughput:
    """(A) Deliveries, with the server's core full or nearly so."""

    per_second: float
    per_cpu_second: float
    busy: float


@dataclass(frozen=True, slots=True)
class Latency:
    """(D) From the publish call to the client's recv(), milliseconds."""

    p50: float
    p99: float


@dataclass(frozen=True, slots=True)
class Idle:
    """(B) What a connection costs that only waits, and what opening it cost."""

    kb_each: float
    handshakes_per_second: float


@dataclass(frozen=True, slots=True)
class Format:
    """(W) What a wire format costs: each event alone to a thousand, and the memory of one that waits for it."""

    us_each: float
    kb_each: float


class Faulty(Exception):
    """Something was lost, came twice or was closed: no figure may be taken from this run."""


def build_wsload(folder: Path) -> Path:
    """Compiles the load generator.

    Raises:
        StartFailed: there is no C compiler, or it complains.
    """
    program = folder / "wsload"
    try:
        subprocess.run(["cc", "-O2", "-Wall", "-o", program, ROOT / "bench/wsload.c"], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise StartFailed(f"bench/wsload.c needs a C compiler (Debian packages gcc and libc6-dev): {error}") from None
    return program


class Load:
    """`count` clients that are ready and count what they get."""

    def __init__(self, wsload: Path, running: Running, count: int, *options: str) -> None:
        self.progress = wsload.with_name("progress")
        fixed = ("-n", str(count), "--seconds", "120", "--connect-timeout", "60", "--only-marked", "--seq", "n")
        command = [str(wsload), *running.load, *fixed, "--progress", str(self.progress), *options]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self._out = self._process.stdout
        self._first = self._out.readline()

    def end(self) -> dict[str, Any]:
        """Disconnects them all; what they counted.

        Raises:
            Faulty: not all were ready to the end, or something came twice or not in order.
        """
        self._process.send_signal(signal.SIGTERM)
        text = self._out.read()
        self._process.wait()
        self._out.close()
        result: dict[str, Any] = json.loads(text or self._first)
        if result["failed"] or result["closed"] or any(result["seq"].values()):
            raise Faulty(json.dumps(result))
        return result


@contextmanager
def _load(wsload: Path, running: Running, count: int, *options: str) -> Iterator[tuple[Load, dict[str, Any]]]:
    """Clients for the time of a `with`; the dict has their result after it."""
    load, result = Load(wsload, running, count, *options), dict[str, Any]()
    try:
        yield load, result
    finally:
        result.update(load.end())


def _publish(running: Running, load: Load, *options: str) -> dict[str, Any]:
    command = [str(running.subject.programs / "python"), "-m", "bench.publisher", running.subject.publisher]
    done = subprocess.run(
        [*command, "--progress", str(load.progress), *options],
        env=running.environ,
        cwd=load.progress.parent,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    result: dict[str, Any] = json.loads(done.stdout)
    if result["lost"]:
        raise Faulty(f"{result['lost']} deliveries are missing: {done.stdout}")
    return result


def throughput(wsload: Path, running: Running, subscribers: int, seconds: float) -> Throughput:
    """(A) A closed loop with 32 events outstanding."""
    # Frames gather for 4 ms, so that reading them does not starve the publisher that shares the core.
    with _load(wsload, running, subscribers, "--coalesce-us", "4000") as (load, _):
        options = ("--subscribers", str(subscribers), "--seconds", str(seconds), "--window", str(WINDOW))
        found = _publish(running, load, *options, "--server", str(running.server.pid))
    return Throughput(found["per_second"], found["per_cpu_second"], found["busy"])


def latency(wsload: Path, running: Running, subscribers: int, seconds: float) -> Latency:
    """(D) An open loop of 50 events/s; the first second warms up."""
    with _load(wsload, running, subscribers, "--warmup", "1.5") as (load, result):
        options = ("--subscribers", str(subscribers), "--seconds", str(seconds + 1.5), "--rate", str(RATE))
        _publish(running, load, *options)
    return Latency(result["latency_us"]["p50"] / 1000, result["latency_us"]["p99"] / 1000)


def idle(wsload: Path, running: Running, count: int) -> Idle:
    """(B) Opens connections, 32 handshakes in flight, and lets them be."""
    with _load(wsload, running, WARM_CONNECTIONS):
        pass
    time.sleep(0.5)
    before = resident_kb(running.server.pid)
    with _load(wsload, running, count) as (_, result):
        time.sleep(2)
        after = resident_kb(running.server.pid)
    return Idle((after - before) / count, result["handshakes_per_s"])


def wire_format(wsload: Path, running: Running, subscribers: int, seconds: float) -> Format:
    """(W) A closed loop with one event outstanding: each delivery is a write of its own, nothing is joined."""
    with _load(wsload, running, WARM_CONNECTIONS):
        pass
    time.sleep(0.5)
    before = resident_kb(running.server.pid)
    with _load(wsload, running, subscribers) as (load, _):
        time.sleep(1)
        after = resident_kb(running.server.pid)
        options = ("--subscribers", str(subscribers), "--seconds", str(seconds), "--window", "1")
        found = _publish(running, load, *options, "--server", str(running.server.pid))
    return Format(1e6 / found["per_cpu_second"], (after - before) / subscribers)
