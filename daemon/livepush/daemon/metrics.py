"""`/metrics`: the numbers of this process in Prometheus' text format, read when they are asked for.

Nothing is counted twice: every part keeps its own plain numbers, and a scrape reads them, so that a metric costs the
hot path what its part's own counter costs. docs/reference/metrics.md names each; a test holds the two together.

All names begin with `livepush_`. Each process tells of itself: processes that share a socket are asked one by one at
`--status`, and a Prometheus adds them up.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from livepush.daemon.latency import BOUNDS, Histogram

if TYPE_CHECKING:
    from livepush.broker.feed import Feed
    from livepush.daemon.calls import Calls
    from livepush.daemon.front import Front
    from livepush.daemon.identifier import Identifier
    from livepush.daemon.lookups import Lookups
    from livepush.daemon.presence import Presence

STATM = "/proc/self/statm"
"""Readable also where `ProcSubset=pid` hides the rest of /proc."""

_PAGE = os.sysconf("SC_PAGE_SIZE")


class Metrics(Collector):
    """What there is to read.

    Args:
        front: the connections.
        feed: what comes from the broker.
        identifier: look-ups of users.
        calls: of pages to the site's code.
        presence: None: it is not kept.
    """

    def __init__(
        self, front: Front, feed: Feed, identifier: Identifier, calls: Calls, presence: Presence | None = None
    ) -> None:
        self._front, self._feed, self._identifier = front, feed, identifier
        self._calls, self._presence = calls, presence
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def render(self) -> str:
        """All of it, as text."""
        return generate_latest(self._registry).decode()

    def describe(self) -> Iterable[Metric]:
        """Nothing: the names are made when they are read."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The metrics of now."""
        yield from self._connections()
        yield from self._deliveries()
        yield from self._incoming()
        yield from self._lookups()
        yield from self._process()

    def _connections(self) -> Iterator[Metric]:
        hub = self._front.hub
        by_wire = Counter(connection.encoder.name for connection in hub.everybody())
        yield _gauges("connections", "Open connections.", "wire", by_wire)
        yield _counter("connections_opened", "Connections that were opened.", hub.opened)
        yield _counters("connections_ended", "Connections that have ended.", "cause", hub.departures.counts)
        yield _counters("refused", "Connections that were refused with 503.", "why", self._front.refused)
        yield _gauge("connections_limit", "LIVEPUSH_MAX_CONNECTIONS.", self._front.limits.connections)
        yield _gauge("stalled_connections", "Connections whose client does not read now.", hub.latency.stalls)
        yield _counter(
            "suspensions", "Times that a connection was held back until its user was looked up anew.", hub.suspensions
        )

    def _deliveries(self) -> Iterator[Metric]:
        hub = self._front.hub
        yield _counter("deliveries", "Events given to connections.", hub.delivered)
        yield _counter("delivered_bytes", "Bytes of these and of their resyncs.", hub.bytes)
        yield _counter("replayed", "Events replayed to connections that came back.", hub.replayed)
        yield _counters("unrecoverable", "Channels that came back and could not be replayed.", "why", hub.unrecoverable)
        yield _counter("slow_resyncs", "Resyncs told to clients that read too slowly.", hub.slow)
        yield _gauge("ring_bytes", "Bytes of events that are kept for those who come back.", hub.history.ring.bytes)
        yield _gauge("ring_bytes_limit", "LIVEPUSH_RING_BYTES.", hub.history.ring.settings.bytes)
        yield _histogram("hop_seconds", "How long events take, by hop.", "hop", hub.latency.hops)

    def _incoming(self) -> Iterator[Metric]:
        feed, intake = self._feed, self._feed.intake.counters
        ingest = self._feed.intake.ingest.counters
        yield _gauge("ready", "1: events flow and new connections are served.", int(self._front.is_ready()))
        yield _counter("feed_connections", "Times that queue and log were attached.", feed.counters.connections)
        yield _counter("feed_failures", "Attempts and connections that came to nothing.", feed.counters.failures)
        yield _counter("messages", "Messages from the broker, of queue and log.", intake.received)
        yield _counter("message_bytes", "Bytes of their bodies.", intake.bytes)
        yield _counter("logged", "Numbered records read from the log.", intake.logged)
        yield _counter("events", "Events released, each once.", intake.events)
        yield _counter("controls", "Control messages that acted.", intake.controls)
        yield _counter("resyncs", "Holes and losses that were told to all of a channel.", intake.resyncs)
        yield _counter("poisoned", "Messages that can't be read.", intake.poisoned)
        yield _counter("start_overs", "Times that the log was another one or trimmed.", intake.start_overs)
        yield _counter("duplicates", "Copies that came again: of each event one is usual.", ingest.duplicates)
        yield _counter("held", "Messages that came before an earlier one of their publisher.", ingest.held)
        yield _counter("missing", "Numbers that never came.", ingest.missing)

    def _lookups(self) -> Iterator[Metric]:
        kinds: dict[str, Lookups[Any, Any]] = {"login": self._identifier.logins, "rule": self._identifier.rules}
        asked = {kind: each.counters.asked for kind, each in kinds.items()}
        refused = {kind: each.counters.refused for kind, each in kinds.items()}
        unanswered = {kind: each.unanswered for kind, each in kinds.items()}
        lag = {kind: each.lag for kind, each in kinds.items()}
        yield _counters("lookups", "Questions about users.", "kind", asked)
        yield _counters("lookups_refused", "Questions refused because too many wait.", "kind", refused)
        yield _gauges("lookups_waiting", "Askers that have no answer yet.", "kind", unanswered)
        yield _gauges("lookup_lag_seconds", "How long the oldest question has waited for a thread.", "kind", lag)
        yield _gauge("calls_in_flight", "Calls of pages that a thread has or will have.", self._calls.in_flight)
        yield _counters("calls", "Calls of pages that have ended.", "outcome", self._calls.outcomes)
        if self._presence is not None:
            yield _counter("presence_rounds", "Rounds with the registry that went well.", self._presence.rounds)
            yield _counter("presence_failures", "Rounds that failed.", self._presence.failures)

    def _process(self) -> Iterator[Metric]:
        yield _gauge("resident_memory_bytes", "Resident memory.", resident())
        yield _gauge("open_files", "Open file descriptors.", open_files())
        times = os.times()
        yield _counter("cpu_seconds", "Processor time, user and system.", times.user + times.system)


def resident() -> int:
    """This process's resident memory, bytes; 0: the system does not say."""
    try:
        with open(STATM, encoding="ascii") as file:
            return int(file.read().split()[1]) * _PAGE
    except (OSError, ValueError, IndexError):
        return 0


def open_files() -> int:
    """How many file descriptors are open; 0: the system does not say."""
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError:
        return 0


def _counter(name: str, help_: str, value: float) -> Metric:
    return CounterMetricFamily(f"livepush_{name}", help_, value=value)


def _gauge(name: str, help_: str, value: float) -> Metric:
    return GaugeMetricFamily(f"livepush_{name}", help_, value=value)


def _counters(name: str, help_: str, label: str, values: Mapping[str, float]) -> Metric:
    family = CounterMetricFamily(f"livepush_{name}", help_, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def _gauges(name: str, help_: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(f"livepush_{name}", help_, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def _histogram(name: str, help_: str, label: str, values: Mapping[str, Histogram]) -> Metric:
    family = HistogramMetricFamily(f"livepush_{name}", help_, labels=[label])
    for key, histogram in values.items():
        total, buckets = 0, []
        for bound, count in zip((*map(str, BOUNDS), "+Inf"), histogram.counts, strict=True):
            total += count
            buckets.append((bound, total))
        family.add_metric([key], buckets, histogram.sum)
    return family
