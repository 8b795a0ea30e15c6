"""The listening sockets that systemd passes on (sd_listen_fds(3)), and what can be wrong with them.

A socket unit holds the socket, so that a client who connects while a process is started anew waits and is not refused,
and several processes accept from it. `--listen systemd:domain=INET:name=livepush` names one by `FileDescriptorName=`.

A socket that is passed and not named would take clients whom nobody answers, and one that is named and not passed is a
start without its address; both end the start with one line.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping, Sequence

from twisted.internet import endpoints
from twisted.python.systemd import ListenFDs

from livepush.daemon.errors import BadOption

BLOCKING = (
    "The listening socket has come as a blocking one, which it is for every process that shares it: one that loses "
    "the race for a client hangs. Write NonBlocking=yes into the [Service] section of the unit."
)

_NAME = re.compile(r"systemd:(?:.*:)?name=([^:]+)(?::|$)")
_DOMAIN = re.compile(r"systemd:(?:domain=)?([A-Z0-9]+)(?::|$)")
_OWN = "--listen tcp:8989:interface=127.0.0.1"


def is_passed(text: str) -> bool:
    """Whether an endpoint description names a socket that comes from outside of this process."""
    return text.startswith("systemd:")


def passed() -> ListenFDs:
    """What systemd has passed to this process. Twisted reads it when it is imported, and takes it out of the
    environment; there is no other place to ask."""
    found: ListenFDs = endpoints._SystemdParser._sddaemon
    return found


def check(listen: Sequence[str], found: ListenFDs | None = None) -> None:
    """Whether what is to be listened on is what was passed.

    Args:
        listen: all endpoint descriptions.
        found: None: what was passed to this process.

    Raises:
        BadOption: it is not.
    """
    found = passed() if found is None else found
    count, named = len(found.inheritedDescriptors()), found.inheritedNamedDescriptors()
    if count > len(named):
        why = (
            f"systemd has passed {count} sockets, and {count - len(named)} of them under the name of another, so that "
            "nobody would answer there: give each ListenStream= a socket unit of its own, with its FileDescriptorName="
        )
        raise BadOption("--listen", listen[0], why)
    for text in filter(is_passed, listen):
        _check_one(text, count, named)
    wanted = [match[1] for text in listen if (match := _NAME.match(text))]
    forgotten = sorted(set(named) - set(wanted))
    if forgotten and not any("index=" in text for text in listen):
        why = (
            f"systemd has passed a socket that no --listen names, {', '.join(forgotten)}, so that nobody would answer "
            f"there: add --listen systemd:domain=INET:name={forgotten[0]}, or take it out of Sockets= of the unit"
        )
        raise BadOption("--listen", listen[0], why)


def warnings(listen: Sequence[str], found: ListenFDs | None = None) -> list[str]:
    """What is wrong with the sockets, and is no reason not to start.

    Args:
        listen: all endpoint descriptions, checked.
        found: None: what was passed to this process. Not adopted yet: Twisted makes a socket non-blocking then.
    """
    named = (passed() if found is None else found).inheritedNamedDescriptors()
    wanted = [match[1] for text in listen if (match := _NAME.match(text))]
    return [BLOCKING] if any(os.get_blocking(named[name]) for name in wanted) else []


def _check_one(text: str, count: int, named: Mapping[str, int]) -> None:
    if not count:
        why = (
            "systemd has passed no socket: start the process by its unit, with Sockets=livepush.socket in it, or give "
            f"it an address of its own, {_OWN}"
        )
        raise BadOption("--listen", text, why)
    match = _NAME.match(text)
    if match is None:
        return  # by its index
    if match[1] not in named:
        why = f"systemd has passed no socket of this name (FileDescriptorName=), but {', '.join(sorted(named))}"
        raise BadOption("--listen", text, why)
    domain = _DOMAIN.match(text)
    with socket.socket(fileno=os.dup(named[match[1]])) as one:
        actual = one.family.name.removeprefix("AF_")
    if domain is None or domain[1] != actual:
        raise BadOption("--listen", text, f"this socket's domain is {actual}: systemd:domain={actual}:name={match[1]}")
