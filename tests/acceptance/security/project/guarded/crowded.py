"""The same site behind a proxy, with room for few."""

from __future__ import annotations

from .settings import *  # noqa: F403 - settings

LIVEPUSH_TRUSTED_PROXIES = ["127.0.0.1"]
LIVEPUSH_ADDRESS_CONNECTIONS = 4
LIVEPUSH_USER_CONNECTIONS = 3
