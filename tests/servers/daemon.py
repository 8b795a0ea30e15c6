"""`twistd -n livepush` as a process, over a small Django site of its own.

site = django_site()                       # one a trial process: settings module, SQLite file, users
daemon = Daemon(site, "--broker", "embedded:5700", "--port", "8700")
self.addCleanup(daemon.kill)
daemon.wait_for(r"Feed ready")
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.servers.program import WAIT_SECONDS, Program

SECRET_KEY = "a key for tests only, which is long enough for Django's own checks"

_SETTINGS = f"""
from pathlib import Path

SECRET_KEY = {SECRET_KEY!r}
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
INSTALLED_APPS = [
    "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions", "livepush.django", "shop"
]
DATABASES = {{"default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": Path(__file__).parent / "site.sqlite3"}}}}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
"""

_PUSH = """
from livepush.django import Audience, Channel

class News(Channel):
    name = "news"
    auto = True
    audiences = [Audience("reader", perm=None)]
"""

_PREPARE = """
import json, django
django.setup()
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
from django.contrib.sessions.backends.db import SessionStore
from django.core.management import call_command
call_command("migrate", verbosity=0, interactive=False)
user = get_user_model().objects.create_user("anna", password="livepush")
session = SessionStore()
session[SESSION_KEY], session[BACKEND_SESSION_KEY] = str(user.pk), settings.AUTHENTICATION_BACKENDS[0]
session[HASH_SESSION_KEY] = user.get_session_auth_hash()
session.save()
print(json.dumps([user.pk, f"{settings.SESSION_COOKIE_NAME}={session.session_key}"]))
"""


@dataclass(frozen=True, slots=True)
class DjangoSite:
    """A Django project in a folder, with one user who is logged in.

    Attributes:
        folder: holds the package `shop` with its `settings` and `push` modules.
        user: the primary key of the user.
        cookie: the Cookie header of his browser.
    """

    folder: Path
    user: int
    cookie: str


def clean_environment(**more: str) -> dict[str, str]:
    """The environment of a process that knows nothing of the tests' own Django."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    return {**kept, "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1", **more}


@cache
def django_site() -> DjangoSite:
    """The site of this process; its folder goes with the process."""
    folder = Path(tempfile.mkdtemp(prefix="livepush-site-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    (folder / "shop").mkdir()
    (folder / "shop" / "__init__.py").write_text("")
    (folder / "shop" / "settings.py").write_text(_SETTINGS)
    (folder / "shop" / "push.py").write_text(_PUSH)
    done = subprocess.run(
        [sys.executable, "-c", _PREPARE],
        cwd=folder,
        env=clean_environment(DJANGO_SETTINGS_MODULE="shop.settings", PYTHONPATH=str(folder)),
        stdout=subprocess.PIPE,
        timeout=WAIT_SECONDS,
        check=True,
    )
    user, cookie = json.loads(done.stdout.splitlines()[-1])
    return DjangoSite(folder, user, cookie)


def twistd(*words: str) -> list[str]:
    """The command line of this interpreter's twistd."""
    return [str(Path(sys.executable).with_name("twistd")), *words]


class Daemon(Program):
    """One process; what it writes is kept, line by line.

    Args:
        site: whose folder is its working directory.
        words: the options after `livepush`; `--settings` is added.
        environ: more of the environment.
        settings: the site's module.
    """

    def __init__(
        self, site: DjangoSite, *words: str, environ: dict[str, str] | None = None, settings: str = "shop.settings"
    ) -> None:
        command = twistd("-n", "--pidfile=", "livepush", "--settings", settings, *words)
        super().__init__(command, site.folder, clean_environment(**(environ or {})))
