"""What a daemon tells of itself, as Prometheus reads it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.address import IPv4Address
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.trial.unittest import SynchronousTestCase

from livepush.daemon import identity, metrics
from livepush.daemon.options import CommandLine
from livepush.daemon.service import make_service

PAGE = Path(__file__).resolve().parents[3] / "docs" / "reference" / "metrics.md"


class MetricsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        command_line = CommandLine(instance="7", status="tcp:910{instance}:interface=127.0.0.1")
        self.daemon = make_service(command_line, self.reactor, identity.site(self.reactor))
        self.daemon.privilegedStartService()

    def ask(self, port: int, path: bytes) -> tuple[int, str]:
        """Status and body of what this machine is answered."""
        (web,) = (factory for number, factory, *_ in self.reactor.tcpServers if number == port)
        transport = StringTransport(peerAddress=IPv4Address("TCP", "127.0.0.1", 4000))
        protocol: Any = web.buildProtocol(transport.getPeer())
        protocol.makeConnection(transport)
        protocol.dataReceived(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        head, _, body = transport.value().partition(b"\r\n\r\n")
        return int(head.split()[1]), body.decode()

    def families(self) -> dict[str, Any]:
        """What is told, by name."""
        _, text = self.ask(8989, b"/metrics")
        return {family.name: family for family in text_string_to_metric_families(text)}

    def test_the_page_names_each(self) -> None:
        """docs/reference/metrics.md has a row for each metric, with its kind, label and meaning, and no other."""
        rows = re.findall(r"^\| `(livepush_\w+)` \| (\w+) \| ([^|]*) \| ([^|]+) \|$", PAGE.read_text(), re.MULTILINE)
        told = {
            name: (family.type, family.documentation) for name, family in self.families().items() if family.samples
        } | {name: (family.type, family.documentation) for name, family in self.families().items()}
        page = {name.removesuffix("_total"): (kind, meaning.strip()) for name, kind, _, meaning in rows}
        self.assertEqual(page, told)

    def test_values(self) -> None:
        """What the parts have counted is what is told."""
        hub: Any = self.daemon._hub
        hub.delivered, hub.replayed = 12, 3
        hub.departures.counts["left"] += 2
        hub.latency.arrived(1_000, 1_100)
        families = self.families()
        self.assertEqual(families["livepush_deliveries"].samples[0].value, 12)
        self.assertEqual(families["livepush_replayed"].samples[0].value, 3)
        (ended,) = families["livepush_connections_ended"].samples
        self.assertEqual((ended.labels, ended.value), ({"cause": "left"}, 2))
        commit = [
            each
            for each in families["livepush_hop_seconds"].samples
            if each.labels["hop"] == "commit" and each.name.endswith("_bucket")
        ]
        self.assertEqual({each.labels["le"]: each.value for each in commit}["0.05"], 0)
        self.assertEqual({each.labels["le"]: each.value for each in commit}["0.1"], 1)
        self.assertEqual(commit[-1].labels["le"], "+Inf")

    def test_this_process(self) -> None:
        """Memory and files are those of the process."""
        self.assertTrue(10**6 < metrics.resident() < 10**11)
        self.assertTrue(2 < metrics.open_files() < 10**6)

    def test_an_address_for_this_process_alone(self) -> None:
        """`--status` answers how the process is, and nothing else; its name stands in the address."""
        self.assertEqual(self.ask(9107, b"/healthz")[0], 200)
        self.assertEqual(self.ask(9107, b"/readyz")[0], 503)
        self.assertIn("livepush_ready 0.0", self.ask(9107, b"/metrics")[1])
        self.assertEqual(self.ask(9107, b"/livepush/ws")[0], 404)
