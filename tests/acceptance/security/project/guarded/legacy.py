"""The same with SockJS's transports for old browsers, as a second process of the daemon."""

from __future__ import annotations

from .settings import *  # noqa: F403 - settings are names

LIVEPUSH_SOCKJS_LEGACY = True
LIVEPUSH_SOCKJS_CLIENT = "/static/sockjs.min.js"
LIVEPUSH_SWEEP_SECONDS = 2
