"""`python -m tests.acceptance.security.flood KIND PORT COOKIE SOCKETS`: one attacker, in a process of his own.

He writes `ready` when his sockets are open, and goes on until his input ends. He says what he can as fast as it is
taken, opens a socket anew when one is closed, and reads nothing, unless it says so.

    kind        what he does
    --------    ---------------------------------------------------------------------------------------------------
    idle        opens sockets and says nothing
    heads       heads of 16 KiB that never end, a byte a second
    endless     one header that never ends
    requests    pipelined requests for a path that is not there
    openings    sessions of Engine.IO that nobody joins
    pings       WebSocket pings, whose pongs he does not read
    pongs       WebSocket pongs that nobody has asked for
    fragments   a message in fragments of nothing
    messages    requests for a channel that he may not have
    readers     WebSockets that say hello and never read; the test publishes
"""

from __future__ import annotations

import base64
import selectors
import socket
import sys

ORIGIN = "https://good.example"


def main(kind: str, port: int, cookie: str, count: int) -> None:
    """The attack."""
    first, then, greets = _words(kind, port, cookie)
    drips = kind == "heads"
    selector = selectors.DefaultSelector()
    sockets: dict[socket.socket, memoryview] = {}

    def speak(sock: socket.socket) -> None:
        left = sockets[sock]
        try:
            sent = sock.send(left[:1] if drips else left)
        except BlockingIOError:
            return
        except OSError:
            if not drips:
                selector.unregister(sock)
            del sockets[sock]
            sock.close()
            open_one()
        else:
            sockets[sock] = left[sent:] if sent < len(left) else memoryview(then)

    def open_one() -> None:
        sock = socket.socket()
        if kind == "readers":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        try:
            sock.connect(("127.0.0.1", port))
            sock.settimeout(10)
            sock.sendall(first)
            if greets:
                sock.recv(4_096)
        except OSError:
            sock.close()
            return
        sock.setblocking(False)
        sockets[sock] = memoryview(then)
        if then and not drips:
            selector.register(sock, selectors.EVENT_WRITE)

    for _ in range(count):
        open_one()
    print("ready", flush=True)
    selector.register(sys.stdin, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select(1.0):
            if key.fileobj is sys.stdin:
                return
            assert isinstance(key.fileobj, socket.socket)
            speak(key.fileobj)
        if drips:
            for sock in list(sockets):
                speak(sock)


def _words(kind: str, port: int, cookie: str) -> tuple[bytes, bytes, bool]:
    """What a new socket says, what it says on and on, and whether it is a WebSocket."""
    head = f"Host: 127.0.0.1:{port}\r\nOrigin: {ORIGIN}\r\nCookie: {cookie}\r\n"
    upgrade = (
        f"GET /livepush/ws HTTP/1.1\r\n{head}Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Protocol: livepush.v1\r\nSec-WebSocket-Key: {base64.b64encode(bytes(16)).decode()}\r\n\r\n"
    ).encode()
    hello = _frame(1, b'{"op":"hello","n":0}')
    match kind:
        case "idle":
            return b"", b"", False
        case "heads":
            return f"GET / HTTP/1.1\r\n{head}X: ".encode() + b"x" * 15_000, b"x" * 100, False
        case "endless":
            return f"GET / HTTP/1.1\r\n{head}X: ".encode(), b"x" * 1_000_000, False
        case "requests":
            return b"", f"GET /nothing HTTP/1.1\r\n{head}\r\n".encode() * 1_000, False
        case "openings":
            return b"", f"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\n{head}\r\n".encode() * 100, False
        case "pings":
            return upgrade, _frame(9, b"x" * 125) * 5_000, True
        case "pongs":
            return upgrade, _frame(10, b"") * 20_000, True
        case "fragments":
            return upgrade + _frame(1, b"", final=False), _frame(0, b"", final=False) * 20_000, True
        case "messages":
            return upgrade + hello, _frame(1, b'{"op":"subscribe","n":1,"channel":"nothing"}') * 5_000, True
        case "readers":
            return upgrade + hello, b"", True
    raise SystemExit(f"{kind!r}: no such attack")


def _frame(opcode: int, payload: bytes, final: bool = True) -> bytes:
    return bytes(((0x80 if final else 0) | opcode, 0x80 | len(payload))) + bytes(4) + payload


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
