"""RFC 6455, by the cases of the Autobahn Testsuite, which `kosoku` plays."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.servers.conformance import ConformanceServer
from tests.servers.program import WAIT_SECONDS

LEFT_OUT = ("9.*", "12.*", "13.*")
"""How fast large messages are, and compression, which livepush does not speak."""

CASES = 200
"""There are 247; fewer than this many would be none of that suite."""

RIGHT = {"OK", "INFORMATIONAL"}
"""The second where the standard leaves it open what is done."""


class WebSocketCases(SynchronousTestCase):
    """The daemon's link under everything that a peer can do to a WebSocket."""

    def test_all_cases(self) -> None:
        """Fragments, control frames, UTF-8, close codes, limits: all as the standard says."""
        server = ConformanceServer()
        self.addCleanup(server.kill)
        with tempfile.TemporaryDirectory(prefix="livepush-kosoku-") as folder:
            command = [str(Path(sys.executable).with_name("kosoku")), f"127.0.0.1:{server.port}/ws-echo", "-o", folder]
            for case in LEFT_OUT:
                command += ["-x", case]
            run = subprocess.run(
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                text=True,
                timeout=4 * WAIT_SECONDS,
                check=False,
            )
            (results,) = json.loads((Path(folder) / "index.json").read_text("utf-8")).values()
        judged = {case: (result["behavior"], result["behaviorClose"]) for case, result in results.items()}
        wrong = {case: verdicts for case, verdicts in judged.items() if not RIGHT.issuperset(verdicts)}
        self.assertEqual((run.returncode, wrong), (0, {}), run.stdout)
        self.assertGreaterEqual(len(judged), CASES)
        self.assertEqual(server.stop(), (0, ""))
