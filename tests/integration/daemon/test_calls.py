"""Calls through a real daemon: what `receive` writes and publishes, over the embedded broker and with two users."""

from __future__ import annotations

from functools import cache
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.clients.websocket import WebSocket, connect
from tests.servers.daemon import Daemon, DjangoSite, django_site
from tests.servers.definitions import DAEMON, DJANGO, load_definitions
from tests.servers.ports import free_ports
from tests.servers.rabbitmq import shared_rabbitmq

_SETTINGS = """
from shop.settings import *

INSTALLED_APPS = [*INSTALLED_APPS, "desk"]
LIVEPUSH_CALL_TIMEOUT = 1
LIVEPUSH_CALL_THREADS = 2
LIVEPUSH_CALL_QUEUE = 2
"""

_PUSH = """
import threading
from livepush.django import Audience, CallRefused, Channel, publish

class Desk(Channel):
    name = "desk"
    auto = True
    audiences = [Audience("clerk")]

    def receive(self, user, type, data):
        if type == "note":
            user.last_name = data["text"]
            user.save()
            publish("desk", "noted", data, skip=self.caller)
            return {"user": user.pk}
        if type == "read":
            return {"text": user.last_name}
        if type == "refuse":
            raise CallRefused("Closed today.", "closed")
        if type == "hang":
            threading.Event().wait(data["seconds"])
        if type == "break":
            raise RuntimeError("a fault of the site")
"""


@cache
def site() -> DjangoSite:
    """The tests' site, with an app that takes calls."""
    found = django_site()
    (found.folder / "desk").mkdir()
    (found.folder / "desk" / "__init__.py").write_text("")
    (found.folder / "desk" / "settings.py").write_text(_SETTINGS)
    (found.folder / "desk" / "push.py").write_text(_PUSH)
    return found


class Tab:
    """A page that calls."""

    def __init__(self, socket: WebSocket, name: str) -> None:
        self.socket, self.number = socket, 0
        socket.send_json({"op": "hello", "n": 0, "tab": name})
        assert "desk" in socket.receive_json()["channels"]

    def send(self, type: str, **data: Any) -> int:  # noqa: A002
        self.number += 1
        self.socket.send_json({"op": "call", "n": self.number, "channel": "desk", "type": type, "data": data})
        return self.number

    def call(self, type: str, **data: Any) -> dict[str, Any]:  # noqa: A002
        """The next message after a call, which is its answer if nothing else comes."""
        self.send(type, **data)
        return self.socket.receive_json()


class CallCase(SynchronousTestCase):
    """One daemon, and tabs of one user."""

    def start(self, *words: str, **environ: str) -> Daemon:
        (self.port,) = free_ports(1)
        words = ("--port", str(self.port), *words)
        daemon = Daemon(site(), *words, environ=environ, settings="desk.settings")
        self.addCleanup(daemon.kill)
        daemon.wait_for("Feed ready")
        return daemon

    def tab(self, name: str) -> Tab:
        headers = [("Origin", f"http://127.0.0.1:{self.port}"), ("Cookie", site().cookie)]
        socket = connect(self.port, headers=headers, subprotocols=["livepush.v1"], deadline=60.0)
        self.addCleanup(socket.close)
        return Tab(socket, name)

    def assert_note(self) -> None:
        """A call writes; its tab gets the answer, and the other tab of the same user the event."""
        one, other = self.tab("one"), self.tab("two")
        self.assertEqual(one.call("note", text="first"), {"op": "ok", "n": 1, "data": {"user": site().user}})
        event = other.socket.receive_json()
        self.assertEqual((event["op"], event["type"], event["data"]), ("event", "noted", {"text": "first"}))
        self.assertEqual(other.call("read"), {"op": "ok", "n": 1, "data": {"text": "first"}})
        # Had the first tab been told of its own, it would have heard that before this one.
        self.assertEqual(other.call("note", text="second")["op"], "ok")
        self.assertEqual(one.socket.receive_json()["data"], {"text": "second"})


class EmbeddedTests(CallCase):
    """The broker inside the daemon."""

    def test_note(self) -> None:
        """Nothing needs to be set."""
        (amqp,) = free_ports(1)
        self.start("--broker", f"embedded:{amqp}")
        self.assert_note()

    def test_ends_with_what_was_published(self) -> None:
        """The end waits for the events of calls, and no longer than they need."""
        (amqp,) = free_ports(1)
        daemon = self.start("--broker", f"embedded:{amqp}")
        tab = self.tab("one")
        for _ in range(5):
            self.assertEqual(tab.call("note", text="last words")["op"], "ok")
        _, seconds = daemon.terminate()
        self.assertLess(seconds, 4.5)
        for trouble in ("Traceback", "has not confirmed", "left behind", "in time"):
            self.assertNotIn(trouble, daemon.output)

    def test_no(self) -> None:
        """A refusal is shown, a fault is not: it is in the log."""
        (amqp,) = free_ports(1)
        daemon = self.start("--broker", f"embedded:{amqp}")
        tab = self.tab("one")
        refused = {"op": "error", "n": 1, "code": "closed", "retry": False, "message": "Closed today."}
        self.assertEqual(tab.call("refuse"), refused)
        failed = tab.call("break", secret="canary")
        self.assertEqual((failed["code"], failed["n"]), ("failed", 2))
        self.assertNotIn("fault", failed["message"])
        daemon.wait_for("a fault of the site")
        self.assertNotIn("canary", daemon.output)
        self.assertIn("receive() of desk failed at 'break'", daemon.output)

    def test_bounds(self) -> None:
        """A receiver that hangs is told after the timeout; what waits behind it is refused, and who logs in is not."""
        (amqp,) = free_ports(1)
        self.start("--broker", f"embedded:{amqp}")
        tab = self.tab("one")
        numbers = [tab.send("hang", seconds=3) for _ in range(5)]
        answers = {message["n"]: message["code"] for message in (tab.socket.receive_json() for _ in numbers)}
        # Two threads, room for two to wait, and one too many.
        self.assertEqual(answers, dict(zip(numbers, ("timeout", "timeout", "busy", "busy", "busy"), strict=True)))
        self.tab("two")
        while tab.call("read").get("code") is not None:
            pass  # each is answered within a second: busy, until a thread is free again


class RabbitTests(CallCase):
    """A RabbitMQ with the definitions: the daemon's own user may not publish events."""

    def setUp(self) -> None:
        self.loaded = load_definitions(shared_rabbitmq())
        self.addCleanup(self.loaded.remove)

    def test_two_users(self) -> None:
        """With Django's user for `publish` beside its own, a daemon does both."""
        self.start(LIVEPUSH_BROKER_URL=self.loaded.url(DAEMON), LIVEPUSH_PUBLISH_URL=self.loaded.url(DJANGO))
        self.assert_note()

    def test_own_user_only(self) -> None:
        """Without it the call is answered all the same, and the log says whose right is missing."""
        daemon = self.start(LIVEPUSH_BROKER_URL=self.loaded.url(DAEMON))
        self.assertEqual(self.tab("one").call("note", text="unheard")["op"], "ok")
        daemon.wait_for("403 ACCESS_REFUSED.*'livepush'.*'livepush-daemon'")
