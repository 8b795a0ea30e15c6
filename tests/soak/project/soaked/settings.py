"""Settings of the soak's site. `SOAK_FOLDER` holds its files, `SOAK_DATABASE` says which database."""

from __future__ import annotations

import json
import os
from pathlib import Path

from . import ending  # noqa: F401 - before livepush is loaded

FOLDER = Path(os.environ.get("SOAK_FOLDER", "."))

SECRET_KEY = "a key for tests only, which is long enough for Django's own checks"
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
ROOT_URLCONF = "soaked.urls"
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "livepush.django",
    "soaked",
]
MIDDLEWARE: list[str] = []
_SQLITE = {
    "ENGINE": "django.db.backends.sqlite3",
    "NAME": str(FOLDER / "soak.sqlite3"),
    "OPTIONS": {"timeout": 20, "transaction_mode": "IMMEDIATE", "init_command": "PRAGMA journal_mode=WAL"},
}
# A JSON object as in `DATABASES`, for a database server.
DATABASES = {"default": json.loads(os.environ["SOAK_DATABASE"]) if os.environ.get("SOAK_DATABASE") else _SQLITE}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True

LIVEPUSH_HEARTBEAT = 4
LIVEPUSH_RETRY = (500, 5000)
LIVEPUSH_PRESENCE_GRACE = 2
LIVEPUSH_PRESENCE_TTL = 6

if SABOTAGE := os.environ.get("SOAK_SABOTAGE"):
    from . import sabotage

    sabotage.apply(SABOTAGE)
