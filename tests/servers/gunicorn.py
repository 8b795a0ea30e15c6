"""A small Django site under a real gunicorn, and its programs.

site = publishing_site()                          # one a trial process
server = Gunicorn(site, url, "--threads", "4")
self.addCleanup(server.kill)
server.get("/publish?count=10")                   # {"ids": [...], "seconds": ...}
"""

from __future__ import annotations

import atexit
import http.client
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import Any

from tests.servers.child import Child, ServerFailed
from tests.servers.daemon import clean_environment
from tests.servers.ports import free_ports

WAIT_SECONDS = 60.0

_SETTINGS = """
SECRET_KEY = "a key for tests only, which is long enough for Django's own checks"
ALLOWED_HOSTS = ["127.0.0.1"]
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "livepush.django", "shop"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
ROOT_URLCONF = "shop.urls"
USE_TZ = True
"""

_PUSH = """
from livepush.django import Audience, Channel

class News(Channel):
    name = "news"
    audiences = [Audience("reader", perm=None)]
"""

_URLS = """
import os, threading, time
from django.db import transaction
from django.http import JsonResponse
from django.urls import path
from livepush.django import publish

def view(request):
    begun = time.perf_counter()
    with transaction.atomic():
        events = [publish("news", "x", {"n": n}) for n in range(int(request.GET["count"]))]
    seconds = time.perf_counter() - begun
    return JsonResponse({"ids": [event.id for event in events], "seconds": seconds, "process": os.getpid()})

urlpatterns = [path("publish", view)]
"""

# As a site does that publishes while it is loaded: under --preload the publisher is then the master's.
_WSGI = """
import os
from django.core.wsgi import get_wsgi_application

application = get_wsgi_application()
if os.environ.get("PUBLISH_AT_LOAD"):
    from livepush.django import publish
    publish("news", "loaded", {})
"""


@cache
def publishing_site() -> Path:
    """The folder of the package `shop`; it goes with the process."""
    folder = Path(tempfile.mkdtemp(prefix="livepush-gunicorn-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    (folder / "shop").mkdir()
    texts = {"__init__": "", "settings": _SETTINGS, "push": _PUSH, "urls": _URLS, "wsgi": _WSGI}
    for name, text in texts.items():
        (folder / "shop" / f"{name}.py").write_text(text)
    return folder


def environment(site: Path, broker: str, **more: str) -> dict[str, str]:
    """Of a process of the site."""
    known = {"DJANGO_SETTINGS_MODULE": "shop.settings", "PYTHONPATH": str(site), "LIVEPUSH_BROKER_URL": broker}
    return clean_environment(**known, **more)


def run_program(site: Path, broker: str, text: str) -> tuple[subprocess.CompletedProcess[str], float]:
    """A program of the site to its end, and how many seconds it took; `django.setup()` has been called."""
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", f"import django; django.setup()\n{text}"],
        cwd=site,
        env=environment(site, broker),
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
        check=False,
    )
    return done, time.monotonic() - begun


class Gunicorn:
    """One master with its workers, answering.

    Args:
        broker: the broker's address.
        words: more of gunicorn's options.
        environ: more of the environment.
    """

    def __init__(self, site: Path, broker: str, *words: str, environ: dict[str, str] | None = None) -> None:
        (self.port,) = free_ports(1)
        self.log = Path(tempfile.mkstemp(prefix="gunicorn-", dir=site)[1])
        command = [sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{self.port}", *words, "shop.wsgi"]
        known = environment(site, broker, **(environ or {}))
        # SIGTERM: its workers go with it.
        self._master = Child(command, folder=site, environ=known, log=self.log, ending=signal.SIGTERM)
        try:
            self._master.wait_until(self._answers, WAIT_SECONDS)
        except ServerFailed:
            self.kill()
            raise

    def get(self, path: str) -> Any:
        """What it answers, read as JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT_SECONDS)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
        if response.status != 200:
            raise AssertionError(f"{response.status} {body[:500]!r}\n{self.log.read_text()}")
        return json.loads(body)

    def terminate(self) -> float:
        """SIGTERM; how many seconds the end took."""
        begun = time.monotonic()
        self._master.terminate()
        return time.monotonic() - begun

    def kill(self) -> None:
        """Ends it in any case. May be called twice."""
        self._master.kill()

    def _answers(self) -> bool:
        try:
            self.get("/publish?count=0")
        except OSError:
            return False
        return True
