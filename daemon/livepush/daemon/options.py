"""The command line of `twistd livepush`, read and checked.

Options override `LIVEPUSH_*` settings, which override defaults. What can be checked without Django and without opening
anything is checked here; each fault is a `BadOption`, whose message names the option, the value and the remedy.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twisted.python import usage

from livepush.broker.errors import BadURL
from livepush.broker.url import BrokerURL, without_password
from livepush.daemon.errors import BadOption
from livepush.daemon.logs import FORMATS, LEVELS

MAX_WORKERS = 256

INSTANCE = "{instance}"

_INSTANCE = re.compile(r"[A-Za-z0-9_-]{1,32}", re.ASCII)
_TCP = re.compile(r"(?:tcp|tcp4|tcp6|ssl):(?:.*:)?(?:port=)?(-?[0-9]+)(?=:|$)")


@dataclass(frozen=True, slots=True)
class CommandLine:
    """What the daemon was started with; None: not given, so that the setting decides.

    Attributes:
        settings: Django's settings module; None: `DJANGO_SETTINGS_MODULE`.
        pythonpath: the folder that holds it; None: the working directory.
        listen: endpoint descriptions in Twisted's form; empty: `LIVEPUSH_PORT` on the loopback interface.
        broker: the broker's URL.
        log_level: the least level that is logged, a word of `logs.LEVELS`.
        log_format: how, a word of `logs.FORMATS`.
        instance: what this process is called among those of this machine, in logs and in the broker's list of queues.
        workers: how many processes share the sockets; None: this one is alone.
        status: an endpoint description at which this process alone is asked how it is; `{instance}` in it stands for
            the process's name. None: it is asked where it listens.

    Raises:
        BadOption: a value that the daemon can't start with.
    """

    settings: str | None = None
    pythonpath: str | None = None
    listen: tuple[str, ...] = ()
    broker: str | None = None
    log_level: str = "info"
    log_format: str = "text"
    instance: str = "1"
    workers: int | None = None
    status: str | None = None

    def __post_init__(self) -> None:
        if self.settings is not None and not all(word.isidentifier() for word in self.settings.split(".")):
            remedy = "must be the dotted name of Django's settings module, such as exchange.settings"
            raise BadOption("--settings", self.settings, remedy)
        if self.pythonpath is not None and not Path(self.pythonpath).is_dir():
            remedy = "is no folder; name the one that holds the settings module's package (or manage.py)"
            raise BadOption("--pythonpath", self.pythonpath, remedy)
        for text in self.listen:
            _check_description(text)
        for text in self.listen:
            if self.listen.count(text) > 1:
                raise BadOption("--listen", text, "is given twice; each address can be listened on once")
        if self.broker is not None:
            _check_broker(self.broker)
        if self.log_level not in LEVELS:
            raise BadOption("--log-level", self.log_level, f"must be one of {', '.join(LEVELS)}")
        if self.log_format not in FORMATS:
            raise BadOption("--log-format", self.log_format, f"must be one of {', '.join(FORMATS)}")
        if not _INSTANCE.fullmatch(self.instance):
            raise BadOption("--instance", self.instance, "must be 1 to 32 letters, digits, - and _, such as 1")
        if self.workers is not None:
            _check_workers(self.workers, self.broker)
        if self.status is not None:
            _check_description(self.status_of(self.instance), "--status", "unix:/run/livepush/status.sock")
            if self.workers is not None and INSTANCE not in self.status:
                remedy = f"must hold {INSTANCE}, which stands for a worker's name: each needs an address of its own"
                raise BadOption("--status", self.status, f"{remedy}, such as unix:/run/livepush-{INSTANCE}.sock")

    def status_of(self, instance: str) -> str:
        """The endpoint description for a process of this name."""
        return (self.status or "").replace(INSTANCE, instance)

    @property
    def shows_password(self) -> bool:
        """Whether the broker's password can be read by every user of this machine, in the list of processes."""
        if self.broker is None:
            return False
        url = BrokerURL.parse(self.broker, embedded_password="")
        return not url.embedded and url.password not in ("", "guest")


class Options(usage.Options):
    """The options as `twistd livepush --help` shows them; `command_line` holds them once they are parsed."""

    synopsis = "[options]"
    longdesc = (
        "Consumes what a Django site publishes and pushes it to the browsers of those who may know it. "
        "Options override the site's LIVEPUSH_* settings. Secrets belong in the environment (LIVEPUSH_BROKER_URL), "
        "not on the command line, where every user of the machine can read them."
    )
    optParameters = [
        ["settings", None, None, "Django's settings module [default: DJANGO_SETTINGS_MODULE]."],
        ["pythonpath", None, None, "The folder that holds it [default: the working directory]."],
        ["port", None, None, "Short for --listen tcp:PORT:interface=127.0.0.1 [default: LIVEPUSH_PORT, 8989]."],
        ["broker", None, None, "The broker, amqp://... or embedded:[PORT] [default: LIVEPUSH_BROKER_URL]."],
        ["log-level", None, "info", f"The least level that is logged: {', '.join(LEVELS)}."],
        ["log-format", None, "text", f"How: {', '.join(FORMATS)} (one object a line)."],
        ["instance", None, "1", "What this process is called among several, in the broker's list of queues."],
        ["status", None, None, "Answer /healthz, /readyz, /metrics here too; {instance} in it is the process's name."],
        ["workers", None, None, "So many processes that share the sockets, each with a queue of its own."],
    ]
    compData = usage.Completions(optActions={"pythonpath": usage.CompleteDirs(), "log-level": list(LEVELS)})
    command_line: CommandLine

    def __init__(self) -> None:
        usage.Options.__init__(self)
        self["listen"] = []

    def opt_listen(self, description: str) -> None:
        """
        An address to listen on, in the form of Twisted's endpoints, such as tcp:8989:interface=127.0.0.1 or
        unix:/run/livepush.sock; may be given several times.
        """
        self["listen"].append(description)

    def parseArgs(self, *rest: Any) -> None:
        """Refuses what is no option."""
        if rest:
            raise usage.UsageError(f"{rest[0]!r}: is no option; all options begin with --")

    def postOptions(self) -> None:
        """Checks all values.

        Raises:
            usage.UsageError: the text of a `BadOption`.
        """
        try:
            listen = tuple(self["listen"])
            if self["port"] is not None:
                listen = (*listen, loopback(_port(self["port"], listen)))
            self.command_line = CommandLine(
                self["settings"],
                self["pythonpath"],
                listen,
                self["broker"],
                self["log-level"],
                self["log-format"],
                self["instance"],
                None if self["workers"] is None else _workers(self["workers"]),
                self["status"],
            )
        except BadOption as error:
            raise usage.UsageError(str(error)) from None


def loopback(port: int) -> str:
    """The endpoint description of a port that only this machine can reach.

    The backlog takes a crowd of clients that come back at once; Twisted's default is 50.
    """
    return f"tcp:{port}:backlog=1024:interface=127.0.0.1"


def _port(text: str, listen: tuple[str, ...]) -> int:
    port = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else -1
    if not 1 <= port <= 65535:
        raise BadOption("--port", text, "must be a whole number from 1 to 65535")
    for description in listen:
        found = _TCP.match(description)
        if found is not None and int(found[1]) == port:
            raise BadOption("--port", port, f"--listen {description} has this port already; give one of the two")
    return port


def _workers(text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
    if not 1 <= number <= MAX_WORKERS:
        raise BadOption("--workers", text, f"must be a whole number from 1 to {MAX_WORKERS}, such as one a core")
    return number


def _check_workers(workers: int, broker: str | None) -> None:
    if broker is not None and broker.startswith("embedded:"):
        remedy = "can't share the embedded broker, which lives in one process: name a RabbitMQ with LIVEPUSH_BROKER_URL"
        raise BadOption("--workers", workers, f"{remedy}, or leave --workers out")


def _check_description(text: str, option: str = "--listen", socket: str = "unix:/run/livepush.sock") -> None:
    kind, colon, _ = text.partition(":")
    if not colon or not kind:
        right = f"such as tcp:8989:interface=127.0.0.1 or {socket}"
        raise BadOption(option, text, f"must be an endpoint description in Twisted's form, {right}")
    found = _TCP.match(text)
    if found is not None and not 0 <= int(found[1]) <= 65535:
        raise BadOption(option, text, f"port {found[1]} must be from 1 to 65535")


def _check_broker(text: str) -> None:
    try:
        BrokerURL.parse(text, embedded_password="")
    except BadURL as error:
        raise BadOption("--broker", without_password(text), str(error)) from None
