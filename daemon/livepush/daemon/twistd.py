"""What `twistd` needs besides the service: a bad start told in one line with a non-zero status, and the log's level.

twistd answers a wrong option with the whole help, and an exception with a traceback; after `SystemExit` it leaves its
PID file behind. So a fault ends the process here: before the log is there with a line on standard error, after that
with a line in the log.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred
from twisted.logger import ILogObserver, Logger
from twisted.python import usage
from twisted.python.components import Componentized
from twisted.python.logfile import LogFile
from twisted.scripts._twistd_unix import UnixAppLogger

from livepush.daemon import options
from livepush.daemon.errors import BadOption, CannotListen
from livepush.daemon.logs import adopt_stdlib, filtered, json_lines
from livepush.daemon.notify import Notifier
from livepush.daemon.process import end_by_force, use_monotonic
from livepush.daemon.reload import Reload, command_of, new_key
from livepush.daemon.supervision import Supervision

if TYPE_CHECKING:
    from livepush.daemon.lifecycle import Daemon
    from livepush.daemon.workers import Workers

FORCE_SECONDS = 0.3
"""More than an orderly end may take; then the process is ended by force."""


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
        from livepush.daemon import service

        self._command_line, self._reactor, self._config = command_line, reactor, config
        notifier, key = Notifier.from_environment(os.environ), new_key()
        try:
            if command_line.workers is None:
                self._service: Daemon | Workers = service.make_service(command_line, reactor, key=key)
            else:
                self._service = service.make_workers(command_line, reactor, os.environ)
        except BadOption as error:
            raise SystemExit(f"twistd livepush: {error}") from None
        Service.setServiceParent(self._service, self)
        self._supervision = Supervision(notifier, self._service, reactor, self._service.end_seconds)
        Service.setServiceParent(self._supervision, self)
        self._reload = self._reload_of(command_line, key)

    def setServiceParent(self, parent: Any) -> None:
        """Becomes the application's service, and its log observer that of the application."""
        MultiService.setServiceParent(self, parent)
        if isinstance(parent, Componentized):
            # twistd's own observer for its options (--logfile, --syslog), behind our filter.
            if self._command_line.log_format == "json":
                own = json_lines(self._log_file())
            else:
                own = UnixAppLogger(self._config)._getLogObserver()
            parent.setComponent(ILogObserver, filtered(own, self._command_line.log_level))

    def _log_file(self) -> Any:
        name = self._config["logfile"]
        if self._config["nodaemon"] and name in (None, "", "-"):
            return sys.stdout
        return LogFile.fromFullPath(name or "twistd.log")

    def privilegedStartService(self) -> None:
        """Opens the sockets, or ends the process."""
        adopt_stdlib(self._command_line.log_level)
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

    def startService(self) -> None:
        """Starts all, and listens for signals: SIGHUP reads the settings anew; SIGABRT leaves the stacks of all threads
        behind, which says what a process did that its watchdog had to end."""
        faulthandler.enable(2)  # twistd has put the log in the place of sys.stderr
        MultiService.startService(self)

        signal.signal(signal.SIGHUP, lambda *_: self._reactor.callFromThread(self._reload))

    def _reload_of(self, command_line: options.CommandLine, key: bytes) -> Callable[[], None]:
        settled = getattr(self._service, "settled", None)
        if settled is None:
            return cast("Workers", self._service).reload
        command = command_of(command_line.settings, command_line.pythonpath or str(Path.cwd()))
        return Reload(self._reactor, command, os.environ, key, settled.adopt, self._supervision).begin

    def stopService(self) -> Deferred[Any]:
        """Ends in order; by force when that takes too long."""
        end_by_force(self._service.end_seconds + FORCE_SECONDS)
        ended: Deferred[Any] = MultiService.stopService(self)
        return ended

    _log = Logger()


def makeService(parsed: Options) -> TwistdService:
    """The service for `twistd livepush`, on the reactor that twistd has chosen."""
    from twisted.internet import reactor

    use_monotonic(reactor)
    return TwistdService(parsed.command_line, reactor, parsed.parent)
