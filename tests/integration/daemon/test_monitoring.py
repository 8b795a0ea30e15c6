"""What operators watch: a real daemon's numbers and the alerts on them, as Prometheus' own tool reads them."""

from __future__ import annotations

import re
import subprocess
import tempfile
import urllib.request
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from twisted.trial.unittest import SynchronousTestCase

from tests.clients.websocket import connect
from tests.servers.daemon import Daemon, django_site
from tests.servers.gunicorn import publishing_site, run_program
from tests.servers.ports import free_ports
from tests.servers.rabbitmq import shared_rabbitmq

RULES = Path(__file__).resolve().parents[3] / "docs" / "how-to" / "livepush.rules.yml"


def promtool(*words: str, given: str = "") -> tuple[int, str]:
    """Exit status and all that it writes."""
    done = subprocess.run(["promtool", *words], input=given, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


class MonitoringTests(SynchronousTestCase):
    def setUp(self) -> None:
        vhost = shared_rabbitmq().fresh_vhost()
        self.addCleanup(vhost.delete)
        self.url = vhost.url()
        self.port, self.status = free_ports(2)
        words = ("--broker", self.url, "--port", str(self.port), "--status", f"tcp:{self.status}:interface=127.0.0.1")
        self.daemon = Daemon(django_site(), *words)
        self.addCleanup(self.daemon.kill)
        self.daemon.wait_for("Feed ready")

    def scrape(self) -> str:
        """What Prometheus is given."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.status}/metrics", timeout=30) as answer:
            text: str = answer.read().decode()
        return text

    def families(self) -> dict[str, Any]:
        """The same, by name."""
        return {family.name: family for family in text_string_to_metric_families(self.scrape())}

    def test_one_event(self) -> None:
        """An event that a site has published is counted on its whole way, and Prometheus' tool has nothing to say."""
        headers = [("Origin", f"http://127.0.0.1:{self.port}"), ("Cookie", django_site().cookie)]
        client = connect(self.port, headers=headers, subprotocols=["livepush.v1"], deadline=30.0)
        self.addCleanup(client.close)
        client.send_json({"op": "hello", "n": 0, "tab": "a"})
        self.assertEqual(client.receive_json()["op"], "welcome")
        done, _ = run_program(
            publishing_site(), self.url, "from livepush.django import publish\npublish('news', 'x', {}).result(30)"
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(client.receive_json()["op"], "event")
        families = self.families()
        for name, value in (("events", 1), ("deliveries", 1), ("connections_opened", 1), ("ready", 1)):
            self.assertEqual(families[f"livepush_{name}"].samples[0].value, value, name)
        (connections,) = families["livepush_connections"].samples
        self.assertEqual((connections.labels, connections.value), ({"wire": "websocket"}, 1))
        counted = {
            each.labels["hop"]: each.value
            for each in families["livepush_hop_seconds"].samples
            if each.name.endswith("_count")
        }
        self.assertEqual(counted, {"commit": 1, "broker": 1, "queue": 1, "socket": 0})
        self.assertEqual(promtool("check", "metrics", given=self.scrape()), (0, ""))

    def test_alerts(self) -> None:
        """The rules can be loaded, and each asks for numbers that a daemon gives."""
        status, said = promtool("check", "rules", str(RULES))
        self.assertEqual(status, 0, said)
        wanted = set(
            re.findall(
                r"\b(livepush_\w+)", "".join(re.findall(r"expr:(.*?)\n\s+(?:for|labels)", RULES.read_text(), re.DOTALL))
            )
        )
        self.assertTrue(len(wanted) > 8, wanted)
        given = {sample.name for family in self.families().values() for sample in family.samples}
        named = {family.name for family in self.families().values()}
        self.assertEqual(
            {name for name in wanted if name not in given and name.removesuffix("_total") not in named}, set()
        )

    def test_a_rule_that_is_wrong(self) -> None:
        """The tool does refuse what is none."""
        with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
            file.write(RULES.read_text().replace("livepush_ready == 0", "livepush_ready == = 0"))
            file.flush()
            self.assertNotEqual(promtool("check", "rules", file.name)[0], 0)
