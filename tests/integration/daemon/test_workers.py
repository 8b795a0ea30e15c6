"""`twistd livepush --workers 2`: several processes, one address."""

from __future__ import annotations

import os
import select
import signal
import time
from pathlib import Path

from tests.integration.daemon.test_twistd import ENDED_BY_SIGTERM, DaemonCase
from tests.servers.daemon import Daemon, django_site
from tests.servers.ports import free_ports
from tests.servers.rabbitmq import shared_rabbitmq

_SETTINGS = "from shop.settings import *\nLIVEPUSH_DRAIN_SECONDS = 1\n"


class WorkersTests(DaemonCase):
    """The life of them all."""

    def setUp(self) -> None:
        vhost = shared_rabbitmq().fresh_vhost()
        self.addCleanup(vhost.delete)
        (self.port,) = free_ports(1)
        self.settings = django_site().folder / "shop" / "worked.py"
        self.settings.write_text(_SETTINGS)
        environ = {"LIVEPUSH_BROKER_URL": vhost.url()}
        words = ("--port", str(self.port), "--workers", "2")
        self.daemon = self.start(*words, environ=environ, settings="shop.worked")
        for number in (1, 2):
            self.daemon.wait_for(rf"worker {number}: Feed ready: .* queue livepush\.p\.[^.]*\.{number}\.")

    def workers(self) -> set[int]:
        """The process ids of both."""
        return children(self.daemon)

    def test_they_share_the_clients(self) -> None:
        """Whoever connects is served, by one or the other; both take some, and a settings change reaches both."""
        self.settings.write_text(_SETTINGS + "LIVEPUSH_SUBSCRIPTIONS = 7\n")
        served = {self.get(self.port, "/healthz")[0]}
        begun = time.monotonic()
        taken: dict[int, int] = {}
        while len(taken) < 2 and time.monotonic() - begun < 60:
            client = self.browser(self.port)
            client.send_json({"op": "hello", "n": 0})
            self.assertEqual(client.receive_json()["op"], "welcome")
            taken = {pid: count for pid in self.workers() if (count := sockets_of(pid, self.port))}
        self.assertEqual((served, len(taken)), ({200}, 2))
        os.kill(self.daemon.pid, signal.SIGHUP)
        for number in (1, 2):
            self.daemon.wait_for(rf"worker {number}: The settings were read anew: LIVEPUSH_SUBSCRIPTIONS changed")
        status, _ = self.daemon.terminate()
        self.assertEqual(status, ENDED_BY_SIGTERM, self.daemon.output)
        self.assertNotIn("Traceback", self.daemon.output)
        self.assertNotIn("is started anew", self.daemon.output)

    def test_one_that_is_killed(self) -> None:
        """The end of a worker is told with its cause, another one takes its place, and meanwhile nobody is refused."""
        before = self.workers()
        victim = min(before)
        os.kill(victim, signal.SIGKILL)
        self.daemon.wait_for(r"Worker [12] has ended \(signal 9\); it is started anew")
        for _ in range(10):
            client = self.browser(self.port)
            client.send_json({"op": "hello", "n": 0})
            self.assertEqual(client.receive_json()["op"], "welcome")
        self.daemon.wait_for("worker [12]: Feed ready", count=3)
        after = self.workers()
        self.assertEqual((len(after), len(before & after)), (2, 1))

    def test_a_parent_that_is_killed(self) -> None:
        """No worker stays behind that nobody could end."""
        handles = [os.pidfd_open(pid) for pid in self.workers()]
        self.daemon.kill()
        for handle in handles:
            ended, _, _ = select.select([handle], [], [], 60)
            os.close(handle)
            self.assertTrue(ended)


def children(daemon: Daemon) -> set[int]:
    """The process ids of what a daemon has started."""
    return {int(pid) for pid in Path(f"/proc/{daemon.pid}/task/{daemon.pid}/children").read_text().split()}


def sockets_of(pid: int, port: int) -> int:
    """How many clients of a port a process has."""
    lines = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    inodes = {line[9] for line in lines if line[1].endswith(f":{port:04X}") and line[3] == "01"}
    found = 0
    for handle in Path(f"/proc/{pid}/fd").iterdir():
        try:
            name = os.readlink(handle)
        except FileNotFoundError:
            continue  # closed meanwhile
        found += name.removeprefix("socket:[").removesuffix("]") in inodes
    return found
