"""A Django site with presence and some users, and how each of them looks at a channel over each wire format.

`site()` is one a trial process. `desk` is for everybody, who may see who is there; `office` only tells those who hold
`auth.view_user`. The grace is short, and a process that was killed counts as gone after five seconds, the least.
"""

from __future__ import annotations

import atexit
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from tests.clients.eventsource import Stream
from tests.clients.websocket import WebSocket, connect
from tests.servers.daemon import SECRET_KEY, DjangoSite, clean_environment
from tests.servers.program import WAIT_SECONDS

NAMES = ("anna", "boris", "carla", "dora", "emil")
DEADLINE = 60.0

_SETTINGS = f"""
from pathlib import Path

SECRET_KEY = {SECRET_KEY!r}
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
INSTALLED_APPS = [
    "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions", "livepush.django", "rooms"
]
DATABASES = {{"default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": Path(__file__).parent / "site.sqlite3"}}}}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
LIVEPUSH_PRESENCE_GRACE = 1
LIVEPUSH_PRESENCE_TTL = 5
LIVEPUSH_SIGNALS = ()
"""

_PUSH = """
from livepush.django import Audience, Channel

class Desk(Channel):
    name = "desk"
    auto = True
    audiences = [Audience("all")]
    presence = True

class Office(Channel):
    name = "office"
    audiences = [Audience("all")]
    presence = True
    presence_perm = "auth.view_user"
"""

_PREPARE = """
import json, sys, django
django.setup()
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
from django.contrib.auth.models import Permission
from django.contrib.sessions.backends.db import SessionStore
from django.core.management import call_command
call_command("migrate", verbosity=0, interactive=False)
made = {}
for name in sys.argv[1:]:
    user = get_user_model().objects.create_user(name, password="livepush")
    session = SessionStore()
    session[SESSION_KEY], session[BACKEND_SESSION_KEY] = str(user.pk), settings.AUTHENTICATION_BACKENDS[0]
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.save()
    made[name] = [user.pk, f"{settings.SESSION_COOKIE_NAME}={session.session_key}"]
get_user_model().objects.get(username=sys.argv[1]).user_permissions.add(Permission.objects.get(codename="view_user"))
print(json.dumps(made))
"""


@dataclass(frozen=True, slots=True)
class Site:
    """The site, and its users by name: primary key and Cookie header. The first one holds `auth.view_user`."""

    django: DjangoSite
    users: dict[str, tuple[int, str]]

    def pks(self, *names: str) -> set[int]:
        """The primary keys of these users."""
        return {self.users[name][0] for name in names}


@cache
def site() -> Site:
    """The site of this process; its folder goes with the process."""
    folder = Path(tempfile.mkdtemp(prefix="livepush-rooms-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    (folder / "rooms").mkdir()
    (folder / "rooms" / "__init__.py").write_text("")
    (folder / "rooms" / "settings.py").write_text(_SETTINGS)
    (folder / "rooms" / "push.py").write_text(_PUSH)
    done = subprocess.run(
        [sys.executable, "-c", _PREPARE, *NAMES],
        cwd=folder,
        env=clean_environment(DJANGO_SETTINGS_MODULE="rooms.settings", PYTHONPATH=str(folder)),
        stdout=subprocess.PIPE,
        timeout=WAIT_SECONDS,
        check=True,
    )
    users = {name: (pk, cookie) for name, (pk, cookie) in json.loads(done.stdout.splitlines()[-1]).items()}
    return Site(DjangoSite(folder, users[NAMES[0]][0], users[NAMES[0]][1]), users)


class Visit(Protocol):
    """A page that looks at one channel."""

    def close(self) -> None:
        """It is closed."""

    def said(self) -> Iterator[dict[str, Any]]:
        """What it is told, as native messages; without end."""


class Native:
    """Livepush's own WebSocket."""

    def __init__(self, port: int, cookie: str, channel: str) -> None:
        self.socket = _websocket(port, "/livepush/ws", cookie, "livepush.v1")
        self.socket.send_json({"op": "hello", "n": 0, "channels": {channel: None}})

    def close(self) -> None:
        self.socket.close()

    def said(self) -> Iterator[dict[str, Any]]:
        while True:
            yield self.socket.receive_json()


class SSE:
    """An EventSource."""

    def __init__(self, port: int, cookie: str, channel: str) -> None:
        headers = (f"Cookie: {cookie}", f"Origin: http://127.0.0.1:{port}")
        target = f"/livepush/sse?channels={channel}"
        self.stream = Stream(port, target, *headers, host=f"127.0.0.1:{port}")
        head = self.stream.head()
        assert " 200 " in head, head

    def close(self) -> None:
        self.stream.socket.close()

    def said(self) -> Iterator[dict[str, Any]]:
        while True:
            yield from (message.said for message in self.stream.messages())


class SockJS:
    """Native messages inside SockJS, over its WebSocket."""

    def __init__(self, port: int, cookie: str, channel: str) -> None:
        self.socket = _websocket(port, "/livepush/sockjs/000/k3f9/websocket", cookie)
        self.socket.send_json([json.dumps({"op": "hello", "n": 0, "channels": {channel: None}})])

    def close(self) -> None:
        self.socket.close()

    def said(self) -> Iterator[dict[str, Any]]:
        while True:
            text = self.socket.receive_text()
            if text.startswith("a"):
                yield from (json.loads(message) for message in json.loads(text[1:]))


class SocketIO:
    """Socket.IO, over its WebSocket."""

    def __init__(self, port: int, cookie: str, channel: str) -> None:
        self.socket = _websocket(port, "/socket.io/?EIO=4&transport=websocket", cookie)
        self.socket.send_text("40" + json.dumps({"channels": [channel]}))

    def close(self) -> None:
        self.socket.close()

    def said(self) -> Iterator[dict[str, Any]]:
        while True:
            text = self.socket.receive_text()
            if text == "2":
                self.socket.send_text("3")
            elif text.startswith("42"):
                name, *arguments = json.loads(text[2:])
                if not name.startswith("livepush:"):
                    yield {"op": "event", "type": name, "data": arguments[0]}
                elif isinstance(arguments[0], dict):
                    yield {"op": name.removeprefix("livepush:"), **arguments[0]}


FORMATS: tuple[type[Native | SSE | SockJS | SocketIO], ...] = (Native, SSE, SockJS, SocketIO)


class Watcher:
    """A page that keeps the list of who is there, by the messages that it is told.

    Attributes:
        here: the primary keys; None: it is not known.
        left: everybody who was ever told to have left.
    """

    def __init__(self, visit: Visit) -> None:
        self.visit = visit
        self.here: set[Any] | None = None
        self.left: set[Any] = set()
        self._said = visit.said()
        self._revision = 0

    def until_here(self, expected: set[int] | None) -> None:
        """Hears what comes until the list is this one; what never comes ends with the deadline of the client."""
        while self.here != expected:
            self._hear(self.until("presence"))

    def until(self, op: str) -> dict[str, Any]:
        """The next message of this kind; what tells of presence on the way is heard."""
        for message in self._said:
            if message["op"] == op:
                return message
            if message["op"] == "presence":
                self._hear(message)
        raise AssertionError("the connection has ended")

    def _hear(self, message: dict[str, Any]) -> None:
        if message.get("now", ()) is None:
            self.here = None
            return
        assert message["rev"] > self._revision, "revisions grow"
        self._revision = message["rev"]
        if "now" in message:
            self.here = set(message["now"])
            return
        assert self.here is not None, "a change of what was never told"
        assert not self.here.intersection(message["join"]), "he is here already"
        assert self.here.issuperset(message["leave"]), "he is not here"
        self.here = (self.here | set(message["join"])) - set(message["leave"])
        self.left |= set(message["leave"])


def _websocket(port: int, path: str, cookie: str, *subprotocols: str) -> WebSocket:
    headers = [("Origin", f"http://127.0.0.1:{port}"), ("Cookie", cookie)]
    return connect(port, path, headers, subprotocols=subprotocols, deadline=DEADLINE)
