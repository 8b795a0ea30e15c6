"""What of the log is written, and where Python's own `logging` ends: everything goes to Twisted's log, once.

Twisted, Autobahn and livepush's daemon write to `twisted.logger`; Django, pika and livepush's Django side write to
`logging`. A site that has configured its loggers (Django's `LOGGING`) keeps them as they are.
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import TextIO, cast

from twisted.logger import (
    FilteringLogObserver,
    ILogObserver,
    LogEvent,
    Logger,
    LogLevel,
    LogLevelFilterPredicate,
    eventAsText,
)

LEVELS = ("debug", "info", "warn", "error", "critical")
FORMATS = ("text", "json")

# Namespaces that log what clients do. A client must not be able to fill a disk.
_CHATTY = {
    "autobahn": LogLevel.critical,
    "txaio": LogLevel.critical,
    "twisted.internet.tcp": LogLevel.warn,  # three lines for each client that there is no descriptor for
    "twisted.web": LogLevel.warn,
}

_STDLIB = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
}


def filtered(observer: ILogObserver, level: str) -> ILogObserver:
    """An observer that passes on what is at least of this level, and of chatty libraries less than that."""
    lowest = LogLevel.lookupByName(level)
    predicate = LogLevelFilterPredicate(defaultLogLevel=lowest)
    for namespace, least in _CHATTY.items():
        predicate.setLogLevelForNamespace(namespace, max(lowest, least))
    return FilteringLogObserver(observer, [predicate])


def json_lines(out: TextIO) -> ILogObserver:
    """An observer that writes one object a line: `time` (UTC), `level`, `namespace` and `text`, tracebacks included."""

    def observe(event: LogEvent) -> None:
        level = event.get("log_level")
        entry = {
            "time": datetime.fromtimestamp(event.get("log_time", 0), UTC).isoformat(timespec="milliseconds"),
            "level": "info" if level is None else level.name,
            "namespace": event.get("log_namespace", ""),
            "text": eventAsText(event, includeTimestamp=False, includeSystem=False),
        }
        out.write(json.dumps(entry) + "\n")
        out.flush()

    return cast(ILogObserver, observe)


def adopt_stdlib(level: str, root: logging.Logger | None = None) -> None:
    """Sends what nobody has configured a handler for in `logging` to Twisted's log.

    Levels that the site has set stay. pika describes each lost connection in several lines and a traceback; the feed
    says the same in one, so pika's own are kept for `debug`.
    """
    root = root or logging.getLogger()
    if not root.handlers:
        root.addHandler(TwistedHandler())
    for name, wanted in (("livepush", level), ("pika", level if level == "debug" else "critical")):
        logger = root.getChild(name)
        if logger.level == logging.NOTSET:
            logger.setLevel(_STDLIB[wanted])


class TwistedHandler(logging.Handler):
    """Hands each record to Twisted's log, under the logger's name. Safe from any thread, as Twisted's log is."""

    def __init__(self, observer: ILogObserver | None = None) -> None:
        super().__init__()
        self._observer = observer

    def emit(self, record: logging.LogRecord) -> None:
        """One record, as one event; its traceback follows in the same text."""
        try:
            text = self.format(record)
        except Exception:
            # A record with wrong arguments; logging's own way: tell on standard error, and go on.
            self.handleError(record)
            return
        logger = Logger(namespace=record.name) if self._observer is None else Logger(record.name, None, self._observer)
        logger.emit(LogLevel.lookupByName(_level_name(record.levelno)), "{text}", text=text)


def _level_name(number: int) -> str:
    return next((name for name in reversed(LEVELS) if number >= _STDLIB[name]), "debug")
