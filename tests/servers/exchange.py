"""The order exchange with its site and its daemon apart, so that one of them can go: the demo ends both together.

with Exchange(folder, url_of_a_rabbitmq) as exchange:
    exchange.daemon.kill()
    exchange.publish("note", {"text": "..."})
    exchange.start_daemon()
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from exchange.environment import ROOT, Environment
from tests.servers.daemon import Daemon, DjangoSite, clean_environment
from tests.servers.ports import free_ports
from tests.servers.program import WAIT_SECONDS, Program

_SITE = DjangoSite(ROOT / "djangosite", 0, "")


class Exchange:
    """Both, as a context manager; fresh users and orders, and locks are never freed.

    Attributes:
        url: the site's origin.
        push_url: the daemon's.
        daemon: the one that runs, or ran last.
    """

    def __init__(self, folder: Path, broker: str) -> None:
        """Start them.

        Args:
            folder: for the database; must not exist.
            broker: address of a RabbitMQ: an embedded broker would go with the daemon.
        """
        site, push = free_ports(2)
        environment = Environment(
            site_port=site, push_port=push, broker=broker, demo_dir=folder.absolute(), free_lock_seconds=0
        )
        environment.prepare()
        self.url, self.push_url = f"http://127.0.0.1:{site}", f"http://127.0.0.1:{push}"
        self._port = push
        self._environ = {**environment.variables, "DJANGO_SETTINGS_MODULE": "exchange.settings"}
        self.manage("demo_data")
        gunicorn = (sys.executable, "-m", "gunicorn", "-c", "python:exchange.serving", "exchange.wsgi")
        self._site = Program(gunicorn, _SITE.folder, clean_environment(**self._environ))
        try:
            self._site.wait_for("Listening at")
            self.start_daemon()
        except BaseException:
            self._site.kill()
            raise

    def start_daemon(self) -> None:
        """A daemon, and wait until it hears events."""
        self.daemon = Daemon(_SITE, "--port", str(self._port), environ=self._environ, settings="exchange.settings")
        try:
            self.daemon.wait_for("Feed ready")
        except BaseException:
            self.daemon.kill()
            raise

    def manage(self, *words: str) -> None:
        """`manage.py`, to its end."""
        done = subprocess.run(
            [sys.executable, str(_SITE.folder / "manage.py"), *words],
            env=clean_environment(**self._environ),
            capture_output=True,
            text=True,
            timeout=WAIT_SECONDS,
            check=False,
        )
        if done.returncode:
            raise AssertionError(f"manage.py {words[0]} failed:\n{done.stdout}{done.stderr}")

    def publish(self, type: str, data: dict[str, Any]) -> None:  # noqa: A002 - livepush's word
        """An event of the orders, confirmed."""
        self.manage("livepush", "publish", "orders", type, json.dumps(data, ensure_ascii=False))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.daemon.kill()
        self._site.terminate()
        self._site.kill()
