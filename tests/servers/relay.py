"""`manage.py livepush relay` as a process, over a small Django site with a database of its own.

site = RelaySite(broker=vhost.url())                    # SQLite; or database=server.settings(name)
relay = RelayProcess(site)
self.addCleanup(relay.kill)
relay.wait_for(r"relaying the outbox")
site.run('publish("news", "x", {}, durable=True)')      # in another process of the site
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.servers.daemon import clean_environment
from tests.servers.program import WAIT_SECONDS, Program

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


class RelayProcess(Program):
    """One relay.

    Args:
        site: whose outbox.
        words: more of the command line.
    """

    def __init__(self, site: RelaySite, *words: str) -> None:
        super().__init__([sys.executable, "-m", "django", "livepush", "relay", *words], site.folder, site.environment)

    def end(self) -> int:
        """SIGTERM; its exit status."""
        return self.terminate()[0]
