"""Settings of the order exchange, as the demo runs it: DEBUG off, secrets generated, everything on loopback."""

from __future__ import annotations

import os
from pathlib import Path

from exchange.environment import Environment

HERE = Path(__file__).resolve().parent
ENVIRONMENT = Environment.read(os.environ)

SECRET_KEY = ENVIRONMENT.secret_key()
DEBUG = False
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
ROOT_URLCONF = "exchange.urls"
WSGI_APPLICATION = "exchange.wsgi.application"

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "livepush.django",
    "exchange.orders",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "exchange.policy.ContentSecurityPolicy",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [HERE / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": ENVIRONMENT.database,
        "OPTIONS": {
            # The daemon reads while the site writes (WAL); a transaction takes the write lock when it begins, so that
            # two which read first and then write wait for each other instead of failing (IMMEDIATE).
            "timeout": 20,
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
        },
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

LOGIN_URL = "/accounts/login/"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "/"
# Cookies know hosts, not ports: other sites on 127.0.0.1 keep theirs.
SESSION_COOKIE_NAME = "livepush_demo_sessionid"
CSRF_COOKIE_NAME = "livepush_demo_csrftoken"
X_FRAME_OPTIONS = "DENY"

LANGUAGE_CODE = "en"
USE_I18N = False
TIME_ZONE = "UTC"
USE_TZ = True

STATIC_URL = "/static/"
STATICFILES_DIRS = [HERE / "static"]
WHITENOISE_USE_FINDERS = True  # straight from the packages: no collectstatic step, and never an old script in a cache
WHITENOISE_AUTOREFRESH = False
WHITENOISE_MAX_AGE = 0

LIVEPUSH_BROKER_URL = ENVIRONMENT.broker_url
LIVEPUSH_PORT = ENVIRONMENT.push_port
LIVEPUSH_URL = ENVIRONMENT.push_url or None
LIVEPUSH_SOCKJS_PREFIXES = ["/orders"]
LIVEPUSH_ALLOWED_ORIGINS = [f"http://{host}:{ENVIRONMENT.site_port}" for host in ALLOWED_HOSTS]

ORDERS_FREE_LOCK_TIME = ENVIRONMENT.free_lock_seconds

CONTENT_SECURITY_POLICY = {
    "default-src": ["'self'"],
    "connect-src": [
        "'self'",
        *(f"{scheme}://{host}:{ENVIRONMENT.push_port}" for host in ALLOWED_HOSTS for scheme in ("ws", "http")),
        *ENVIRONMENT.push_sources,
    ],
    "img-src": ["'self'", "data:"],
    "object-src": ["'none'"],
    "base-uri": ["'none'"],
    "form-action": ["'self'"],
    "frame-ancestors": ["'none'"],
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{levelname} {name}: {message}", "style": "{"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": "WARNING"},
    "loggers": {
        "livepush": {"level": "INFO"},
        "exchange": {"level": "INFO"},
        # Django's own handlers stay silent with DEBUG off, and mail nobody.
        "django": {"handlers": [], "level": "WARNING"},
    },
}
