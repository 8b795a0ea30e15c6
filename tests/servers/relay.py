"""`manage.py livepush relay` as a process, over a small Django site with a database of its own.

site = RelaySite(broker=vhost.url())                    # SQLite; or database=server.settings(name)
relay = RelayProcess(site)
self.addCleanup(relay.kill)
relay.wait_for(r"relaying the outbox")
site.run('publish("news", "x", {}, durable=True)')      # in another process of the site
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from tests.servers.daemon import clean_environment
from tests.servers.program import WAIT_SECONDS

_SETTINGS = """
import json, os

SECRET_KEY = "a key for tests only, which is long enough for Django's own checks"
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "livepush.django", "post"]
DATABASES = {"default": json.loads(os.environ["POST_DATABASE"])}
USE_TZ = True
"""

_PUSH = """
from livepush.django import Audience, Channel

class News(Channel):
    name = "news"
    audiences = [Audience("reader")]
"""

_SCRIPT = """
import os, signal, sys, time
import django
django.setup()
from django.db import transaction
from livepush.django import publish
"""


# The `read` ends when the last holder of the pipe's other end is gone.
_GUARD = 'read -r _; kill -9 "$1" 2>/dev/null'


class RelaySite:
    """A Django project that publishes durably.

    Args:
        broker: LIVEPUSH_BROKER_URL.
        database: as in `DATABASES`; without it, an SQLite file in WAL mode.
        migrate: whether to make the tables.
        settings: more lines of the settings module.
    """

    def __init__(
        self, broker: str, database: dict[str, Any] | None = None, *, migrate: bool = True, settings: str = ""
    ) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="livepush-post-")
        self.folder = Path(self._temporary.name)
        (self.folder / "post").mkdir()
        for name, text in (("__init__", ""), ("settings", _SETTINGS + settings), ("push", _PUSH)):
            (self.folder / "post" / f"{name}.py").write_text(text)
        sqlite = {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": str(self.folder / "post.sqlite3"),
            "OPTIONS": {"timeout": 20, "transaction_mode": "IMMEDIATE", "init_command": "PRAGMA journal_mode=WAL"},
        }
        self.environment = clean_environment(
            DJANGO_SETTINGS_MODULE="post.settings",
            PYTHONPATH=str(self.folder),
            LIVEPUSH_BROKER_URL=broker,
            POST_DATABASE=json.dumps(database or sqlite),
        )
        if migrate:
            done = self.manage("migrate", "livepush")
            assert done.returncode == 0, done.stderr

    def manage(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Runs a management command to its end."""
        return self._run([sys.executable, "-m", "django", *words])

    def run(self, code: str) -> subprocess.CompletedProcess[str]:
        """Runs a script to its end, in a process where `publish` and `transaction` are there."""
        return self._run([sys.executable, "-c", _SCRIPT + code])

    def delete(self) -> None:
        """Its folder goes."""
        self._temporary.cleanup()

    def _run(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=WAIT_SECONDS,
            check=False,
        )


class RelayProcess:
    """One relay; what it writes is kept, line by line. It never outlives the process that started it.

    Args:
        site: whose outbox.
        words: more of the command line.
    """

    def __init__(self, site: RelaySite, *words: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "django", "livepush", "relay", *words],
            cwd=site.folder,
            env=site.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", _GUARD, "guard", str(self.process.pid)], stdin=subprocess.PIPE, start_new_session=True
        )
        self.lines: list[str] = []
        self._changed = threading.Condition()
        threading.Thread(target=self._read, name="relay's output", daemon=True).start()

    def wait_for(self, pattern: str, timeout: float = WAIT_SECONDS, count: int = 1) -> str:
        """The line that matches, when it has come so often; `AssertionError` with all lines when it does not."""
        deadline = time.monotonic() + timeout
        with self._changed:
            while True:
                found = [line for line in self.lines if re.search(pattern, line)]
                if len(found) >= count:
                    return found[count - 1]
                left = deadline - time.monotonic()
                if left <= 0 or (not self._changed.wait(min(left, 1.0)) and self.process.poll() is not None):
                    raise AssertionError(f"no line {pattern!r} in\n{''.join(self.lines)}")

    def send(self, number: signal.Signals) -> None:
        """A signal."""
        os.kill(self.process.pid, number)

    def end(self, timeout: float = WAIT_SECONDS) -> int:
        """SIGTERM; its exit status."""
        self.send(signal.SIGTERM)
        return self.process.wait(timeout)

    def kill(self) -> None:
        """SIGKILL. May be called twice."""
        self._guard.kill()  # before the process is reaped, and its id another's
        self._guard.wait()
        self.process.kill()
        self.process.wait()
        if self._guard.stdin is not None:
            self._guard.stdin.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as output:
            for line in output:
                with self._changed:
                    self.lines.append(line)
                    self._changed.notify_all()
