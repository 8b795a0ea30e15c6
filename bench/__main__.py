"""`python -m bench`: measures all subjects in turn and prints a table.

python -m bench                                  # everything, three times: about four minutes
python -m bench --only spine,rabbitmq --parts A  # part of it
python -m bench --only rabbitmq --against ../old # beside another checkout, which the ratios are to then
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from bench.measure import Idle, Latency, Throughput, build_wsload, idle, latency, throughput, wire_format
from bench.process import OTHER_CORE, pin
from bench.subject import BASELINE, NATIVE, ROOT, SUBJECTS, WIRES, Subject, Wire, checkout, running
from tests.servers.rabbitmq import PrivateRabbitMQ

# Column and how many digits it deserves.
COLUMNS = (
    ("deliveries/s", 0),
    ("deliveries per CPU second", 0),
    ("server core busy %", 0),
    ("p50 ms", 2),
    ("p99 ms", 2),
    ("KB per idle connection", 1),
    ("handshakes/s", 0),
)
WIRE_COLUMNS = (("us of CPU per pushed event", 2), ("KB per connection", 1))
Figures = dict[str, list[float]]


class Row(Protocol):
    """What has a line in a table."""

    @property
    def name(self) -> str:
        """At its beginning."""


T = TypeVar("T", bound=Row)


def measure(subject: Subject, given: argparse.Namespace, node: PrivateRabbitMQ, folder: Path, figures: Figures) -> None:
    """One repetition of one subject; adds to its figures. Memory is taken of a server that has just started."""
    wsload = folder / "wsload"

    def fresh_broker() -> str:
        return node.fresh_vhost().url()

    found: list[Throughput | Latency | Idle] = []
    if "A" in given.parts or "D" in given.parts:
        with running(subject, folder, fresh_broker) as server:
            if "A" in given.parts:
                found.append(throughput(wsload, server, given.subscribers, given.seconds))
            if "D" in given.parts:
                found.append(latency(wsload, server, 100, given.seconds))
    if "B" in given.parts:
        with running(subject, folder, fresh_broker) as server:
            found.append(idle(wsload, server, given.connections))
    for one in found:
        match one:
            case Throughput():
                figures["deliveries/s"].append(one.per_second)
                figures["deliveries per CPU second"].append(one.per_cpu_second)
                figures["server core busy %"].append(100 * one.busy)
            case Latency():
                figures["p50 ms"].append(one.p50)
                figures["p99 ms"].append(one.p99)
            case Idle():
                figures["KB per idle connection"].append(one.kb_each)
                figures["handshakes/s"].append(one.handshakes_per_second)
        print(f"{subject.name}: {one}", file=sys.stderr, flush=True)


def measure_wires(given: argparse.Namespace, node: PrivateRabbitMQ, folder: Path, figures: dict[Wire, Figures]) -> None:
    """One repetition of all wire formats; adds to their figures."""
    subject = SUBJECTS["rabbitmq"]
    for wire, found in figures.items():
        with running(subject, folder, lambda: node.fresh_vhost().url(), wire) as server:
            one = wire_format(folder / "wsload", server, given.subscribers, given.seconds)
        for (name, _), value in zip(WIRE_COLUMNS, (one.us_each, one.kb_each), strict=True):
            found[name].append(value)
        print(f"{wire.name}: {one}", file=sys.stderr, flush=True)


def table(figures: Mapping[T, Figures], baseline: T, known: Sequence[tuple[str, int]] = COLUMNS) -> str:
    """Medians, each with its ratio to the baseline where that was measured."""
    columns = [(name, digits) for name, digits in known if any(one[name] for one in figures.values())]
    lines = [
        "| | " + " | ".join(name for name, _ in columns) + " |",
        "|---|" + "---:|" * len(columns),
    ]
    for subject, found in figures.items():
        cells = []
        for name, digits in columns:
            middle = statistics.median(found[name])
            cell = f"{middle:,.{digits}f}"
            if baseline in figures and subject is not baseline and "%" not in name:
                cell += f" (x{middle / statistics.median(figures[baseline][name]):.2f})"
            cells.append(cell)
        lines.append(f"| {subject.name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def machine() -> str:
    """Where the figures come from."""
    texts = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((text.partition(":")[2].strip() for text in texts if text.startswith("model name")), "?")
    return f"{os.cpu_count()} cores of {model}, Linux {platform.release()}, Python {platform.python_version()}"


def main() -> None:
    """Measures and prints."""
    arguments = argparse.ArgumentParser(prog="python -m bench", description="livepush against a bare pipeline")
    arguments.add_argument("--only", default=",".join(SUBJECTS), help=f"of {','.join(SUBJECTS)}")
    arguments.add_argument(
        "--parts", default="ADBW", help="A throughput, D latency, B idle connections, W wire formats (of rabbitmq)"
    )
    arguments.add_argument("--against", type=Path, help="another checkout of livepush, with a .venv of its own")
    arguments.add_argument("--repetitions", type=int, default=3)
    arguments.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    arguments.add_argument("--subscribers", type=int, default=1000)
    arguments.add_argument("--connections", type=int, default=5000)
    given = arguments.parse_args()
    if unknown := set(given.only.split(",")) - set(SUBJECTS):
        arguments.error(f"--only {','.join(sorted(unknown))}: one of {', '.join(SUBJECTS)}")
    subjects = [SUBJECTS[name] for name in given.only.split(",")]
    with_wires = "W" in given.parts and SUBJECTS["rabbitmq"] in subjects
    baseline = BASELINE
    if given.against is not None:
        try:
            baseline = checkout(given.against)
        except ValueError as error:
            arguments.error(f"--against: {error}")
        subjects.insert(0, baseline)
    if (os.cpu_count() or 1) < 2:
        sys.exit("bench: two cores are needed, one of them for the server alone")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if given.connections + 500 > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(given.connections + 500, hard), hard))
    pin(OTHER_CORE)
    folder = Path(tempfile.mkdtemp(prefix="livepush-bench-"))
    node = PrivateRabbitMQ()
    try:
        build_wsload(folder)
        environ = {**os.environ, "BENCH_FOLDER": str(folder)}
        sessions = str(max(given.connections, given.subscribers))
        subprocess.run([sys.executable, "-m", "bench.site.prepare", sessions], env=environ, cwd=ROOT, check=True)
        node.start()
        figures: dict[Subject, Figures] = {subject: defaultdict(list) for subject in subjects}
        wires: dict[Wire, Figures] = {wire: defaultdict(list) for wire in WIRES if with_wires}
        for _ in range(given.repetitions):
            for subject, found in figures.items():
                measure(subject, given, node, folder, found)
            measure_wires(given, node, folder, wires)
    finally:
        node.stop()
        shutil.rmtree(folder, ignore_errors=True)
    print(f"\n{machine()}; medians of {given.repetitions}")
    if any(figures.values()):
        print(f"\nRatios to: {baseline.name}\n\n{table(figures, baseline)}")
    if wires:
        print(f"\nRatios to: {NATIVE.name}\n\n{table(wires, NATIVE, WIRE_COLUMNS)}")


if __name__ == "__main__":
    main()
