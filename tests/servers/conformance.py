"""`python -m livepush.daemon.conformance` as a process.

server = ConformanceServer()
self.addCleanup(server.kill)
server.url                                 # http://127.0.0.1:40123
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.servers.daemon import clean_environment
from tests.servers.program import Program


class ConformanceServer(Program):
    """One process, which listens when this returns.

    Args:
        words: more of its options.

    Attributes:
        url: of its root.
        port: on 127.0.0.1.
    """

    def __init__(self, *words: str) -> None:
        command = [sys.executable, "-W", "error", "-m", "livepush.daemon.conformance", "--port", "0", *words]
        super().__init__(command, Path.cwd(), clean_environment())
        try:
            self.url = self.wait_for("^http://").strip()
        except AssertionError:
            self.kill()
            raise
        self.port = int(self.url.rpartition(":")[2])

    def stop(self) -> tuple[int, str]:
        """SIGTERM; its exit status, and what it has written since its address."""
        status, _ = self.terminate()
        return status, "".join(line for line in self.lines if line.strip() != self.url)
