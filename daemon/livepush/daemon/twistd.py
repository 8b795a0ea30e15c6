"""What `twistd` needs besides the service: a bad start told in one line with a non-zero status, and the log's level.

twistd answers a wrong option with the whole help, and an exception with a traceback; after `SystemExit` it leaves its
PID file behind. So a fault ends the process here: before the log is there with a line on standard error, after that
with a line in the log.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred
from twisted.logger import ILogObserver, Logger
from twisted.python import usage
from twisted.python.components import Componentized
from twisted.scripts._twistd_unix import UnixAppLogger

from livepush.daemon import options
from livepush.daemon.errors import BadOption, CannotListen
from livepush.daemon.logs import adopt_stdlib, filtered
from livepush.daemon.process import end_by_force

FORCE_SECONDS = 4.8
"""After the signal to end; an orderly end takes at most `Settings.stop_seconds`, which is less."""


class Options(options.Options):
    """The options, with a fault told in one line."""

    def parseOptions(self, words: Any = None) -> None:
        """Reads the command line, or ends the process."""
        try:
            usage.Options.parseOptions(self, words)
        except usage.UsageError as error:
            raise SystemExit(f"twistd livepush: {error} (twistd livepush --help lists all options)") from None


class TwistdService(MultiService):
    """The daemon, as twistd runs it."""

    def __init__(self, command_line: options.CommandLine, reactor: Any, config: Any) -> None:
        """Takes twistd's own options as `config`.

        Raises:
            SystemExit: the daemon can't start with what it was told.
        """
        MultiService.__init__(self)
        # Here, because the feed's library installs a reactor when it is imported: only after twistd has chosen one.
        from livepush.daemon.service import make_service

        self._level, self._config = command_line.log_level, config
        try:
            Service.setServiceParent(make_service(command_line, reactor), self)
        except BadOption as error:
            raise SystemExit(f"twistd livepush: {error}") from None

    def setServiceParent(self, parent: Any) -> None:
        """Becomes the application's service, and its log observer that of the application."""
        MultiService.setServiceParent(self, parent)
        if isinstance(parent, Componentized):
            # twistd's own observer for its options (--logfile, --syslog), behind our filter.
            own = UnixAppLogger(self._config)._getLogObserver()
            parent.setComponent(ILogObserver, filtered(own, self._level))

    def privilegedStartService(self) -> None:
        """Opens the sockets, or ends the process."""
        adopt_stdlib(self._level)
        try:
            MultiService.privilegedStartService(self)
        except CannotListen as error:
            self._log.critical("{error}", error=error)
            if not self._config["nodaemon"]:
                # In the background twistd must tell the waiting shell itself; the traceback goes to /dev/null.
                raise
            if self._config["pidfile"]:
                Path(self._config["pidfile"]).unlink(missing_ok=True)
            raise SystemExit(1) from None

    def stopService(self) -> Deferred[Any]:
        """Ends in order; by force when that takes too long."""
        end_by_force(FORCE_SECONDS)
        ended: Deferred[Any] = MultiService.stopService(self)
        return ended

    _log = Logger()


def makeService(parsed: Options) -> TwistdService:
    """The service for `twistd livepush`, on the reactor that twistd has chosen."""
    from twisted.internet import reactor

    return TwistdService(parsed.command_line, reactor, parsed.parent)
