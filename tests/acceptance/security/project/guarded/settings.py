"""Settings of the attacked site: livepush's defaults, but for bounds that a test would need minutes to reach.

`GUARDED_FOLDER` holds its files. The module `legacy` is the same with SockJS's transports for old browsers.
"""

from __future__ import annotations

import os
from pathlib import Path

SECRET_KEY = os.environ["GUARDED_SECRET"]
SECRET_KEY_FALLBACKS = [key for key in os.environ.get("GUARDED_FALLBACKS", "").split("\n") if key]
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
ROOT_URLCONF = "guarded.urls"
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "livepush.django",
    "guarded",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": Path(os.environ["GUARDED_FOLDER"]) / "site.sqlite3",
        "OPTIONS": {"timeout": 20, "transaction_mode": "IMMEDIATE", "init_command": "PRAGMA journal_mode=WAL"},
    }
}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LOGIN_REDIRECT_URL = LOGOUT_REDIRECT_URL = "/"
USE_TZ = True

LIVEPUSH_ALLOWED_ORIGINS = ["https://good.example", "http://good.example:8000"]
LIVEPUSH_SOCKJS_PREFIXES = ["/orders"]
LIVEPUSH_OUTBOUND_BYTES = 262_144
LIVEPUSH_HELLO_TIMEOUT = 2
LIVEPUSH_STATUS_TOKEN = "canary-of-the-status-token"
