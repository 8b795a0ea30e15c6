"""SIGHUP: the settings are read anew (`reading`); what can change does, and what can't is named.

    changes at once, for       how many connections there may be, in all, of a user, of an address; which origins may
    who comes from now on      come (with CSRF_TRUSTED_ORIGINS and ALLOWED_HOSTS); bounds of a connection (`LIMITS`)
    changes at once            LIVEPUSH_DRAIN_SECONDS
    counts from the next       everything else: what is built with a setting once, such as sockets, pools, the ring, the
    start                      feed; and the site's code, its channels among it
    a fault                    nothing changes, and it is told

A second SIGHUP while the settings are read lets them be read once more after that. Bound: one process at a time, for
`READ_SECONDS`, and `MOST_BYTES` of what it writes.
"""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Protocol

from twisted.internet.error import ProcessDone, ProcessExitedAlready
from twisted.internet.interfaces import IDelayedCall, IProcessTransport
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from livepush.daemon.front import Front
from livepush.daemon.origin import OriginSettings
from livepush.daemon.reading import KEY_BYTES, ORIGINS, Reading

READ_SECONDS = 30.0
MOST_BYTES = 2**20
DRAIN = "LIVEPUSH_DRAIN_SECONDS"

LIMITS = {
    "LIVEPUSH_MAX_CONNECTIONS": "connections",
    "LIVEPUSH_MESSAGE_DEPTH": "message_depth",
    "LIVEPUSH_OUTBOUND_BYTES": "outbound_bytes",
    "LIVEPUSH_SUBSCRIPTIONS": "subscriptions",
    "LIVEPUSH_MESSAGE_RATE": "message_rate",
    "LIVEPUSH_MESSAGE_BURST": "message_burst",
    "LIVEPUSH_USER_CONNECTIONS": "user_connections",
    "LIVEPUSH_ADDRESS_CONNECTIONS": "address_connections",
    "LIVEPUSH_HELLO_TIMEOUT": "hello_seconds",
    "LIVEPUSH_RETRY": "retry_ms",
}
"""The settings whose change counts at once, each with its field of `Limits`."""

_ORIGIN_NAMES = {
    "allowed": "LIVEPUSH_ALLOWED_ORIGINS",
    "trusted": "CSRF_TRUSTED_ORIGINS",
    "hosts": "ALLOWED_HOSTS",
    "https_only": "SECURE_SSL_REDIRECT or SESSION_COOKIE_SECURE",
    "development": "DEBUG",
}


@dataclass(frozen=True, slots=True)
class Changes:
    """What came of new settings.

    Attributes:
        made: names whose new values count.
        later: names whose new values count from the next start.
    """

    made: tuple[str, ...] = ()
    later: tuple[str, ...] = ()

    def __str__(self) -> str:
        if not self.made and not self.later:
            return "nothing has changed"
        said = [f"{', '.join(self.made)} changed"] if self.made else []
        said += [f"{', '.join(self.later)} will count from the next start"] if self.later else []
        return "; ".join(said)


class Settled:
    """The settings that count in this process.

    Args:
        reading: of the start.
        front: whose limits and origins they are.
        drain: takes LIVEPUSH_DRAIN_SECONDS; None: what is right here.
    """

    def __init__(self, reading: Reading, front: Front, drain: Callable[[float | None], None]) -> None:
        self._reading, self._started, self._front, self._drain = reading, reading, front, drain

    def adopt(self, new: Reading) -> Changes:
        """Lets what can change change."""
        old, self._reading = self._reading, new
        names = [*LIMITS, DRAIN]
        made = [name for name in names if new.settings.get(name) != old.settings.get(name)]
        made += [_ORIGIN_NAMES[name] for name in ORIGINS if new.origins[name] != old.origins[name]]
        limits = {field: _value(new.settings[name]) for name, field in LIMITS.items() if name in new.settings}
        self._front.adopt(
            replace(self._front.limits, **limits),
            OriginSettings(**{name: _value(value) for name, value in new.origins.items()}),
        )
        if DRAIN in made:
            self._drain(new.settings[DRAIN])
        fixed = self._started.settings.keys() - {*names, "LIVEPUSH_ALLOWED_ORIGINS"}
        later = sorted(name for name in fixed if new.settings.get(name) != self._started.settings[name])
        return Changes(tuple(made), tuple(later))


class Told(Protocol):
    """Who hears of it; see `livepush.daemon.supervision.Supervision`."""

    def reloading(self) -> None:
        """It has begun."""

    def reloaded(self, remark: str) -> None:
        """It is over."""


class Reload:
    """Reads the settings anew when it is asked to.

    Args:
        reactor: starts the process that reads.
        command: of that process.
        environ: of that process.
        key: that its reading is made with.
        adopt: takes what was read.
        told: hears of it.
    """

    def __init__(
        self,
        reactor: Any,
        command: Sequence[str],
        environ: Mapping[str, str],
        key: bytes,
        adopt: Callable[[Reading], Changes],
        told: Told,
    ) -> None:
        self._reactor, self._command, self._environ, self._key = reactor, list(command), dict(environ), key
        self._adopt, self._told = adopt, told
        self._running = self._again = False

    def begin(self) -> None:
        """Once; the outcome is logged."""
        if self._running:
            self._again = True
            return
        self._running = True
        self._told.reloading()
        reader = _Reader(self._reactor, self._key, self._ended)
        try:
            self._reactor.spawnProcess(reader, self._command[0], self._command, env=self._environ)
        except OSError as error:
            self._ended("", f"no process can be started ({error.strerror})")

    def _ended(self, line: str, fault: str) -> None:
        self._running = False
        changes = None
        if not fault:
            try:
                changes = self._adopt(Reading.parse(line))
            except (ValueError, TypeError) as error:
                # Checked by the code on disk, which is of another version than what runs here.
                fault = f"they are not of this version ({error})"
        if changes is not None:
            remark = f"settings read anew: {changes}"
            self._log.info("The settings were read anew: {changes}.", changes=changes)
        else:
            remark = "settings not read anew, see the log"
            self._log.error("The settings can't be read anew and stay as they were: {fault}", fault=fault)
        self._told.reloaded(remark)
        if self._again:
            self._again = False
            self.begin()

    _log = Logger()


class _Reader(ProcessProtocol):
    """The process that reads."""

    def __init__(self, reactor: Any, key: bytes, ended: Callable[[str, str], None]) -> None:
        self._reactor, self._key, self._ended = reactor, key, ended
        self._out, self._err = bytearray(), bytearray()
        self._timer: IDelayedCall | None = None
        self.transport: IProcessTransport | None = None

    def connectionMade(self) -> None:
        assert self.transport is not None
        self._timer = self._reactor.callLater(READ_SECONDS, self._late)
        self.transport.writeToChild(0, self._key)
        self.transport.closeStdin()

    def outReceived(self, data: bytes) -> None:
        self._out += data[: MOST_BYTES - len(self._out)]

    def errReceived(self, data: bytes) -> None:
        self._err += data[: MOST_BYTES - len(self._err)]

    def processEnded(self, reason: Failure) -> None:
        late = self._timer is None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        lines = self._out.decode(errors="replace").splitlines() or [""]
        told = self._err.decode(errors="replace").splitlines() or ["it says nothing"]
        if reason.check(ProcessDone) is not None:
            self._ended(lines[-1], "")
        else:
            self._ended("", f"reading them took longer than {READ_SECONDS:g} s" if late else told[-1])

    def _late(self) -> None:
        self._timer = None
        assert self.transport is not None
        with suppress(ProcessExitedAlready):
            self.transport.signalProcess("KILL")


def command_of(settings: str | None, folder: str) -> list[str]:
    """What reads a site's settings."""
    # Not the working directory, of which `-m` would make a folder of modules.
    return [
        sys.executable,
        "-P",
        "-m",
        "livepush.daemon.reading",
        os.path.abspath(folder),
        *([settings] if settings else []),
    ]


def new_key() -> bytes:
    """A key for a process's readings."""
    return secrets.token_bytes(KEY_BYTES)


def _value(value: Any) -> Any:
    """A list of JSON is a tuple in all settings."""
    return tuple(value) if isinstance(value, list) else value
