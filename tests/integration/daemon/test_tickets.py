"""Tickets against two real processes on a RabbitMQ: each is good once, wherever and however it is shown."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any
from urllib.parse import quote

from twisted.trial.unittest import SynchronousTestCase

from tests.clients.rawhttp import Exchange, request
from tests.clients.websocket import CLOSE, WebSocket, connect
from tests.servers.daemon import Daemon, clean_environment, django_site
from tests.servers.ports import free_ports
from tests.servers.program import WAIT_SECONDS
from tests.servers.rabbitmq import shared_rabbitmq

_MINT = """
import json, sys, django
django.setup()
from django.contrib.auth import get_user_model
from livepush.django import ticket
user = get_user_model().objects.get()
print(json.dumps([ticket(user) for _ in range(int(sys.argv[1]))]))
"""
RACES = 20
DEADLINE = 30.0


def mint(count: int) -> list[str]:
    """Tickets of the site's user, made by a process of the site."""
    site = django_site()
    done = subprocess.run(
        [sys.executable, "-c", _MINT, str(count)],
        cwd=site.folder,
        env=clean_environment(DJANGO_SETTINGS_MODULE="shop.settings", PYTHONPATH=str(site.folder)),
        stdout=subprocess.PIPE,
        timeout=WAIT_SECONDS,
        check=True,
    )
    tickets: list[str] = json.loads(done.stdout)
    return tickets


class TicketTests(SynchronousTestCase):
    """No cookie anywhere."""

    def setUp(self) -> None:
        vhost = shared_rabbitmq().fresh_vhost()
        self.addCleanup(vhost.delete)
        self.ports = free_ports(2)
        self.daemons = [
            Daemon(django_site(), "--port", str(port), environ={"LIVEPUSH_BROKER_URL": vhost.url()})
            for port in self.ports
        ]
        for daemon in self.daemons:
            self.addCleanup(daemon.kill)
        for daemon in self.daemons:
            daemon.wait_for("Feed ready")
        self.welcomes = (self.native, self.sockjs, self.socketio, self.sse)

    def socket(self, port: int, path: str, *subprotocols: str) -> WebSocket:
        socket = connect(port, path, subprotocols=subprotocols, deadline=DEADLINE)
        self.addCleanup(socket.close)
        return socket

    def native(self, port: int, ticket: str) -> Any:
        """The user who is welcome, or the code of the end."""
        socket = self.socket(port, "/livepush/ws", "livepush.v1")
        socket.send_json({"op": "hello", "n": 0, "ticket": ticket})
        return self.answer(socket)

    def answer(self, socket: WebSocket) -> Any:
        frame = socket.receive()
        return frame.code if frame.opcode == CLOSE else json.loads(frame.text)["user"]

    def sockjs(self, port: int, ticket: str) -> Any:
        socket = self.socket(port, "/livepush/sockjs/0/abc/websocket")
        self.assertEqual(socket.receive_text(), "o")
        socket.send_json([json.dumps({"op": "hello", "n": 0, "ticket": ticket})])
        said = socket.receive_text()
        return json.loads(said[1:])[0] if said[0] == "c" else json.loads(json.loads(said[1:])[0])["user"]

    def socketio(self, port: int, ticket: str) -> Any:
        socket = self.socket(port, "/socket.io/?EIO=4&transport=websocket")
        self.assertEqual(socket.receive_text()[0], "0")
        socket.send_text("40" + json.dumps({"ticket": ticket}))
        said = socket.receive_text()
        if said.startswith("44"):
            return json.loads(said[2:])["data"]["code"]
        while not said.startswith("42"):
            said = socket.receive_text()
        return django_site().user

    def sse(self, port: int, ticket: str) -> Any:
        exchange = Exchange(port, request("GET", f"/livepush/sse?ticket={quote(ticket)}"), DEADLINE)
        self.addCleanup(exchange.close)
        if exchange.status != 200:
            return 4401 if exchange.status == 403 else exchange.status
        said = exchange.until(b'"op":"welcome"') + exchange.until(b"\n\n")
        return json.loads(said.split(b"data: ")[-1])["user"]

    def test_once(self) -> None:
        """On every wire format it makes its user welcome; shown again, to the same process or to another one, on any
        of them, it is nobody's; and of two processes that see it at the same time one takes it."""
        tickets = mint(len(self.welcomes) + RACES)
        for welcome, ticket in zip(self.welcomes, tickets, strict=False):
            self.assertEqual(welcome(self.ports[0], ticket), django_site().user, welcome.__name__)
            for again in self.welcomes:
                self.assertEqual([again(port, ticket) for port in self.ports], [4401, 4401], again.__name__)
        raced: list[list[Any]] = []
        for ticket in tickets[len(self.welcomes) :]:
            sockets = [self.socket(port, "/livepush/ws", "livepush.v1") for port in self.ports]
            for socket in sockets:
                socket.send_json({"op": "hello", "n": 0, "ticket": ticket})
            raced.append(sorted(map(self.answer, sockets)))
        self.assertEqual(raced, [[django_site().user, 4401]] * RACES)
        for daemon in self.daemons:
            self.assertNotIn("Traceback", daemon.output)
            self.assertFalse([ticket for ticket in tickets if ticket in daemon.output])
