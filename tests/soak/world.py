"""Everything that a soak breaks, running: broker, database, Redis, relay, daemons, pages, publishers; loopback only."""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.servers.cluster import cluster_of
from tests.servers.ports import free_ports
from tests.servers.postgresql import PrivatePostgreSQL
from tests.servers.proxy import Proxy
from tests.servers.rabbitmq import PrivateRabbitMQ
from tests.servers.redis import PrivateRedis
from tests.soak.answers import Answers
from tests.soak.broker import DAEMON, DJANGO, PASSWORD, VHOST, Broker, definitions
from tests.soak.processes import Processes
from tests.soak.record import Client

ROOT = Path(__file__).parents[2]
PROJECT = Path(__file__).parent / "project"
BIN = Path(sys.executable).parent
START_SECONDS = 90.0
SHELL_SECONDS = 6.0


class SoakFailed(Exception):
    """The soak itself could not be done; that says nothing about livepush."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How big it is.

    Attributes:
        clients: pages.
        rate: events a second, all publishers together, one-event shells and bursts aside.
        cluster: three nodes of RabbitMQ in place of one.
        daemons: processes.
        redis: they meet in one, so that presence is that of all together.
        sabotage: how the daemons are broken; see `soaked.sabotage`.
        postgresql: the site's database is a private PostgreSQL in place of an SQLite file.
    """

    clients: int = 60
    rate: float = 40.0
    cluster: bool = False
    daemons: int = 2
    redis: bool = False
    postgresql: bool = True
    sabotage: str = ""


@dataclass(slots=True)
class Progress:
    """What the pages' process said last.

    Attributes:
        online: pages.
        given, last: events, and when the last one came.
        users: of the pages that are online.
        rolls: who is here as pages were told, by the port of their daemon: each different answer once.
        unfounded: changes of a list that a page did not have.
    """

    online: int = 0
    given: int = 0
    last: float = 0.0
    users: list[str] = field(default_factory=list)
    rolls: list[tuple[int, list[str] | None]] = field(default_factory=list)
    unfounded: int = 0


class World:
    """All of it.

    Args:
        folder: for every file of the run.
        keep: it is left there, whatever happens.
    """

    def __init__(self, folder: Path, plan: Plan, keep: bool = False) -> None:
        self.folder, self.plan = folder, plan
        for name in ("published", "workers", "logs"):
            (folder / name).mkdir()
        self.processes = Processes(folder / "logs", None if keep else folder)
        self.database: PrivatePostgreSQL | None = None
        known = definitions(log=not plan.cluster)
        nodes = cluster_of(3, definitions=known) if plan.cluster else [PrivateRabbitMQ(definitions=known)]
        self.broker = Broker(nodes)
        self.daemons = tuple(f"daemon-{number}" for number in range(1, plan.daemons + 1))
        self.redis = PrivateRedis() if plan.redis else None
        self.proxies: dict[str, Proxy] = {}
        self.ports: list[int] = []
        self.clients: list[Client] = []
        self.progress = Progress()
        self.answers = Answers()
        self._over = threading.Event()
        self._publishing: list[threading.Thread] = []
        self._environ = {
            **{name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ},
            "PYTHONUNBUFFERED": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": str(PROJECT),
            "DJANGO_SETTINGS_MODULE": "soaked.settings",
            "SOAK_FOLDER": str(folder),
        }

    # -- life

    def start(self) -> None:
        """Returns when all pages are online and everybody publishes."""
        self._start_database()
        self._start_redis()
        self.broker.start()
        self.broker.declare()
        for place, name in enumerate(("django", *self.daemons)):
            self.proxies[name] = Proxy(self.broker.nodes[place % len(self.broker.nodes)].port)
        self.ports = free_ports(len(self.daemons))
        made = self._run("soaked.prepare", str(self.plan.clients))
        (self.folder / "clients.json").write_text(made)
        self.clients = [
            Client(who["tab"], who["user"], who["role"], tuple(who["rooms"]), who["moves"]) for who in json.loads(made)
        ]
        self.start_relay()
        for name in self.daemons:
            self.start_daemon(name)
        self.wait_for(self.all_ready, "daemons that are ready")
        self._start_pages()
        self.wait_for(lambda: self.progress.online == len(self.clients), "pages that are online")
        self._start_publishers()

    def end_publishing(self) -> None:
        """Publishers end as publishers do, with what they have flushed."""
        self._over.set()
        (self.folder / "over").touch()
        for name in ("durable", "worker"):
            self._wait(name, 30)
        for name in ("threads", "prefork"):
            self.processes.end(name, 30)
        for thread in self._publishing:
            thread.join(30)

    def close(self) -> None:
        """Nothing of it is left, but the files. May be called twice."""
        self._over.set()
        self.processes.close()
        for proxy in self.proxies.values():
            proxy.close()
        self.broker.stop()
        if self.database is not None:
            self.database.stop()
        if self.redis is not None:
            self.redis.stop()

    # -- parts of it, for the faults

    def start_daemon(self, name: str) -> None:
        """Starts a daemon on its port; it may have run before."""
        port = self.ports[self.daemons.index(name)]
        command = [str(BIN / "twistd"), "-n", "--pidfile=", "livepush", "--listen"]
        command += [f"tcp:{port}:backlog=1024:interface=127.0.0.1"]
        environ = {**self._to_broker(name, DAEMON), "SOAK_SABOTAGE": self.plan.sabotage}
        self.processes.start(name, command, environ, folder=PROJECT)

    def port_of(self, pick: int) -> str:
        """Of the daemon that this number chooses, as pages write it down."""
        return str(self.ports[pick % len(self.daemons)])

    def start_relay(self) -> None:
        """Starts the outbox's relay."""
        self._start_module("relay", "django", "livepush", "relay")

    def burst(self, count: int) -> None:
        """So many events, at once, to the pages of one user."""
        self._run("soaked.burst", str(count))

    def kill_a_worker(self, pick: int) -> None:
        """SIGKILL to one of gunicorn's workers."""
        folder = self.folder / "workers"
        living = [int(path.name) for path in sorted(folder.iterdir()) if Path(f"/proc/{path.name}").exists()]
        if living:
            os.kill(living[pick % len(living)], signal.SIGKILL)

    def all_ready(self) -> bool:
        """Whether all daemons would accept pages."""
        return all(_answers(f"http://127.0.0.1:{port}/readyz") for port in self.ports)

    def quiet(self, seconds: float) -> bool:
        """Whether all pages are online and were given nothing for so long."""
        now = time.monotonic()
        return self.progress.online == len(self.clients) and now - self.progress.last > seconds

    def wait_for(self, condition: Callable[[], bool], what: str, seconds: float = START_SECONDS) -> None:
        """Asks until it is so.

        Raises:
            SoakFailed: it did not become so.
        """
        pause, end = threading.Event(), time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                logs = "\n".join(
                    f"--- {name}\n{self.processes.log(name)}" for name in (*self.daemons, "pages", "relay")
                )
                raise SoakFailed(f"waited {seconds:.0f} s for {what}\n{logs}")
            pause.wait(0.1)

    # -- who is here

    def users_leave(self) -> None:
        """All pages of half of the users go, and do not come back."""
        self.processes.signal("pages", signal.SIGUSR2)

    def present(self) -> list[str] | None:
        """Who is here as Django is told; None: it is told that nobody knows."""
        found: list[str] | None = json.loads(self._run("soaked.present"))
        return found

    # -- inside

    def _start_redis(self) -> None:
        if self.redis is not None:
            self.redis.start()
            self._environ["LIVEPUSH_REDIS_URL"] = self.redis.url()

    def _start_database(self) -> None:
        if self.plan.postgresql:
            self.database = PrivatePostgreSQL()
            self.database.start()
            name = self.database.fresh_database()
            self._environ["SOAK_DATABASE"] = json.dumps(self.database.settings(name))

    def _to_broker(self, proxy: str, user: str) -> dict[str, str]:
        """An environment whose broker is behind this proxy."""
        url = self.broker.node.url(user=user, password=PASSWORD, vhost=VHOST, port=self.proxies[proxy].port)
        return {**self._environ, "LIVEPUSH_BROKER_URL": url}

    def _start_module(self, name: str, *words: str, **environ: str) -> None:
        known = {**self._to_broker("django", DJANGO), **environ}
        self.processes.start(name, [sys.executable, "-m", *words], known, folder=PROJECT)

    def _run(self, *words: str) -> str:
        """What a module prints that does its work and ends."""
        name = words[0].rpartition(".")[2]
        known = self._to_broker("django", DJANGO) if self.proxies else self._environ
        process = self.processes.start(name, [sys.executable, "-m", *words], known, folder=PROJECT, talks=True)
        printed, _ = process.communicate(timeout=START_SECONDS)
        if process.returncode:
            raise SoakFailed(f"{words}: exit {process.returncode}\n{self.processes.log(name)}")
        return printed.decode()

    def _start_pages(self) -> None:
        command = [sys.executable, "-m", "tests.soak.clients", str(self.folder), ",".join(map(str, self.ports))]
        known = {name: value for name, value in self._environ.items() if name != "DJANGO_SETTINGS_MODULE"}
        pages = self.processes.start("pages", command, {**known, "PYTHONPATH": str(ROOT)}, folder=ROOT, talks=True)

        def read() -> None:
            assert pages.stdout is not None
            for line in pages.stdout:
                self.progress = Progress(**json.loads(line))

        threading.Thread(target=read, name="what pages say", daemon=True).start()  # until they end

    def _start_publishers(self) -> None:
        rate = self.plan.rate
        for name, threads in (("threads", "4"), ("prefork", "1")):
            port = free_ports(1)[0]
            environ = {"SOAK_NAME": name, "SOAK_PORT": str(port), "SOAK_THREADS": threads}
            self._start_module(name, "gunicorn", "-c", "python:soaked.serving", "soaked.wsgi", **environ)
            for _ in range(2):
                self._begin(self._visit, port, rate * 0.15)
        self._start_module("worker", "soaked.worker", "worker", str(rate * 0.2))
        self._begin(self._keep_durable, rate * 0.2)
        self._begin(self._open_shells)

    def _visit(self, port: int, rate: float) -> None:
        """Asks a site to publish, as browsers' tabs do; whatever it answers is the publisher's to tell."""
        chance = random.Random(port)
        for number in range(1 << 30):
            if self._over.wait(1 / rate):
                return
            tab = chance.choice(self.clients).tab
            self._ask(port, "GET", "/nothing", {}, self.answers.add_bare)
            self._ask(
                port, "POST", f"/publish/{number}", {"X-Livepush-Tab": tab, "Content-Length": "0"}, self.answers.add
            )

    def _ask(self, port: int, method: str, path: str, headers: dict[str, str], add: Callable[..., None]) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        begun = time.monotonic()
        try:
            connection.request(method, path, headers=headers)
            answer = connection.getresponse()
            if answer.status == 204:
                now = time.monotonic()
                add(now, now - begun, answer.getheader("Server-Timing", ""))
        except (OSError, http.client.HTTPException):
            pass  # its worker was killed, or is not there yet
        finally:
            connection.close()

    def _keep_durable(self, rate: float) -> None:
        """It is killed all the time, between commit and publish: it begins again."""
        while not self._over.is_set():
            if not self.processes.runs("durable"):
                self._start_module("durable", "soaked.durable", "durable", str(rate))
            self._over.wait(0.2)

    def _open_shells(self) -> None:
        for number in range(1 << 30):
            if self._over.wait(SHELL_SECONDS):
                return
            code = f"from soaked.shell import one; one({number})"
            self._start_module("shell", "django", "shell", "-c", code)
            self._wait("shell", 60)

    def _wait(self, name: str, seconds: float) -> None:
        """Until it has ended, not longer."""
        if self.processes.runs(name):
            try:
                self.processes[name].wait(seconds)
            except subprocess.TimeoutExpired as error:
                raise SoakFailed(f"{name} did not end within {seconds} s\n{self.processes.log(name)}") from error

    def _begin(self, function: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=function, args=arguments, name=function.__name__, daemon=True)
        self._publishing.append(thread)
        thread.start()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.HTTPError, http.client.HTTPException):
        return False
