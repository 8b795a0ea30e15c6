"""The server that runs the site: whether the publisher's thread can live in it."""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

THREADS_SINCE = (2, 0, 27)
"""From this version on uWSGI enables threads by itself."""


class ServerFault(NamedTuple):
    """What keeps this process from publishing, and what to do about it."""

    what: str
    remedy: str


def uwsgi_fault(uwsgi: Any = None) -> ServerFault | None:
    """What is wrong with uWSGI's options; None: nothing, or this process is not uWSGI's.

    Before 2.0.27, without `enable-threads` or `threads`, uWSGI never lets go of Python's global lock, so a background
    thread does not run but in the moments of a request: events stay where they are, heartbeats are not answered.

    Args:
        uwsgi: the module that uWSGI puts into its processes; None: as it is found.
    """
    uwsgi = uwsgi or sys.modules.get("uwsgi")
    options = getattr(uwsgi, "opt", None)
    if not isinstance(options, dict) or getattr(uwsgi, "version_info", ())[:3] >= THREADS_SINCE:
        return None
    names = {name.decode("ascii", "replace") if isinstance(name, bytes) else name for name in options}
    if names & {"enable-threads", "threads"}:
        return None
    what = "uWSGI runs without threads, and events are published by a background thread."
    return ServerFault(what, "Start uWSGI with --enable-threads (enable-threads = true), or with --threads.")
