"""TCP ports of 127.0.0.1 that nobody listens on."""

from __future__ import annotations

import socket
from contextlib import ExitStack


def free_ports(count: int) -> list[int]:
    """So many different ports, all free at this moment.

    They are taken together before the first is given back, so none comes twice. Another process may still take one
    before its user does: who can listen on port 0 should do that instead.
    """
    with ExitStack() as stack:
        taken = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in taken:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in taken]


def free_port() -> int:
    """One of them."""
    return free_ports(1)[0]
