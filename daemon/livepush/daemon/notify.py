"""What a service tells systemd (sd_notify(3)): one datagram of `NAME=value` lines to the socket that systemd named.

READY=1                  the start is over
STATUS=...               one line for people, shown by `systemctl status`
WATCHDOG=1               still alive; without it for `WATCHDOG_USEC` the process is ended and started anew
RELOADING=1              the settings are read anew; READY=1 ends that
MONOTONIC_USEC=...       goes with RELOADING (needed from systemd 253 on)
STOPPING=1               the end has begun
EXTEND_TIMEOUT_USEC=...  from now on, the start or the end may take so long
"""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping

from twisted.logger import Logger

STATUS_CHARS = 200
"""Of one status; the rest is cut off."""


class Notifier:
    """Who is told.

    A datagram that systemd does not take, because it is gone or its queue is full, is lost: nothing waits for it. The
    first such loss is logged.

    Args:
        address: of the socket, a path or an abstract name with `@` before it; None: nobody is told anything.
        watchdog_seconds: a sign of life must come so often; None: none is waited for.

    Raises:
        OSError: there is no socket to be had.
    """

    def __init__(self, address: str | None = None, watchdog_seconds: float | None = None) -> None:
        self.watchdog_seconds = None if address is None else watchdog_seconds
        self._address = address if address is None or address[0] != "@" else "\0" + address[1:]
        self._socket: socket.socket | None = None
        self._failed = False
        if address is not None:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)

    @classmethod
    def from_environment(cls, environ: MutableMapping[str, str], pid: int | None = None) -> Notifier:
        """The one that the environment names. Its variables are taken away, so that no child tells in our name.

        Args:
            environ: of the process.
            pid: of the process; None: the one that asks.
        """
        address = environ.pop("NOTIFY_SOCKET", "")
        microseconds, whose = environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", "")
        mine = whose in ("", str(os.getpid() if pid is None else pid))
        counts = mine and microseconds.isascii() and microseconds.isdigit() and int(microseconds) > 0
        seconds = int(microseconds) / 1e6 if counts else None
        return cls(address if address[:1] in ("/", "@") and len(address) > 1 else None, seconds)

    def tell(self, **values: str | int) -> None:
        """One message; `tell(READY=1, STATUS="serving")`."""
        if self._socket is None or self._address is None:
            return
        text = "\n".join(f"{name}={_line(value)}" for name, value in values.items())
        try:
            self._socket.sendto(text.encode(), self._address)
        except OSError as error:
            if not self._failed:
                self._failed = True
                self._log.warn("systemd can't be told anything: {why}.", why=error.strerror or type(error).__name__)

    def close(self) -> None:
        """Tells nothing more."""
        found, self._socket = self._socket, None
        if found is not None:
            found.close()

    _log = Logger()


def _line(value: str | int) -> str:
    return " ".join(str(value).split())[:STATUS_CHARS]
