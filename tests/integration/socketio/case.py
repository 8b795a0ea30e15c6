"""A hub behind a real Socket.IO address, and the stock client under Node as its browser."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twisted.web.resource import IResource

from livepush.daemon.engineio import EngineSettings
from livepush.daemon.front import Front
from livepush.daemon.settings import Limits
from livepush.daemon.socketiolink import endpoint
from tests.integration.served import ORIGIN, ServedCase
from tests.servers.node import Script

LIMITS = Limits(message_bytes=200_000, heartbeat_seconds=3_600.0)
COOKIE = "sessionid=x"
CLIENT = Path(__file__).with_name("client.mjs")


class SocketIOCase(ServedCase):
    """A daemon's Socket.IO address."""

    limits = LIMITS
    settings = EngineSettings()

    def endpoints(self, front: Front) -> Mapping[str, IResource]:
        """That one."""
        self.endpoint = endpoint(front, self.settings)
        return {"/socket.io": self.endpoint}

    def page(self, *transports: str, cookie: str | None = COOKIE, **options: Any) -> Script:
        """A page with the stock client."""
        headers = {"Origin": ORIGIN} if cookie is None else {"Origin": ORIGIN, "Cookie": cookie}
        said = {"extraHeaders": headers, **options}
        if transports:
            said["transports"] = list(transports)
        script = Script(CLIENT, f"http://127.0.0.1:{self.port}", json.dumps(said))
        self.addCleanup(script.end)
        return script
