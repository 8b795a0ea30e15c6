"""Settings of the benchmark's site; `BENCH_FOLDER` says where its database is."""

from __future__ import annotations

import os

SECRET_KEY = "a key for benchmarks only, which is long enough for Django's own checks"
ALLOWED_HOSTS = ["127.0.0.1"]
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "livepush.django",
    "bench.site",
]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.path.join(os.environ.get("BENCH_FOLDER", "."), "bench.sqlite3"),
        "OPTIONS": {"init_command": "PRAGMA journal_mode=WAL;", "timeout": 20},
        "CONN_MAX_AGE": None,
    }
}
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True

LIVEPUSH_ADDRESS_CONNECTIONS = 100_000  # all come from one
