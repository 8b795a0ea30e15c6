"""People in a real Chromium on the order exchange, by clicking."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from exchange.running import RunningDemo
from tests.servers.rabbitmq import shared_rabbitmq

SECONDS = 600


class BrowserTests(SynchronousTestCase):
    """Stories, each a process of its own. Their screenshots stay in trial's folder of the test."""

    def tell(self, story: str, *words: str, environ: Mapping[str, str] | None = None) -> None:
        """Runs `tests.acceptance.<story>` with these words and a folder for its screenshots, to its good end."""
        shots = Path(self.mktemp()).absolute()
        done = subprocess.run(
            [sys.executable, "-m", f"tests.acceptance.{story}", *words, str(shots)],
            env={**os.environ, **(environ or {})},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        self.assertEqual(done.returncode, 0, f"{done.stdout}\n{done.stderr}\nScreenshots: {shots}")
        self.assertIn("all steps done", done.stdout)

    def test_three_users(self) -> None:
        """What anna, boris and mod do by clicking shows at once on the others' pages, each as its user may see it."""
        folder = Path(self.mktemp()).absolute()
        with RunningDemo(folder, {"ORDERS_FREE_LOCK_TIME": "0"}) as demo:
            demo.wait_ready()
            self.tell("three_users", demo.url)

    def test_every_page(self) -> None:
        """Stock clients, over each of their transports, show the same, and miss nothing while no daemon runs."""
        vhost = shared_rabbitmq().fresh_vhost()
        self.addCleanup(vhost.delete)
        self.tell("every_page", environ={"BROKER": vhost.url()})

    def test_restart(self) -> None:
        """While one worker after the other is restarted, a page is given each event once, in order: by livepush.js,
        which is never without a connection, and by stock clients, who come back by themselves."""
        vhost = shared_rabbitmq().fresh_vhost()
        self.addCleanup(vhost.delete)
        self.tell("restart", environ={"BROKER": vhost.url()})
