"""`python -m livepush.daemon.conformance` as a process.

server = ConformanceServer()
self.addCleanup(server.kill)
server.url                                 # http://127.0.0.1:40123
"""

from __future__ import annotations

import subprocess
import sys

from tests.servers.daemon import clean_environment

WAIT_SECONDS = 60.0


class ConformanceServer:
    """One process, which listens when this returns.

    Args:
        words: more of its options.

    Attributes:
        url: of its root.
        port: on 127.0.0.1.
    """

    def __init__(self, *words: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "livepush.daemon.conformance", "--port", "0", *words],
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()
        if not self.url.startswith("http://"):
            rest = self._process.stdout.read()
            self.kill()
            raise AssertionError(f"no conformance server: {self.url}\n{rest}")
        self.port = int(self.url.rpartition(":")[2])

    def stop(self) -> tuple[int, str]:
        """SIGTERM; its exit status, and what it has written since its address."""
        self._process.terminate()
        output, _ = self._process.communicate(timeout=WAIT_SECONDS)
        return self._process.returncode, output

    def kill(self) -> None:
        """Ends it in any case. May be called twice."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
