"""Three users in a real Chromium on the demo, by clicking."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from exchange.running import RunningDemo

SECONDS = 600


class BrowserTests(SynchronousTestCase):
    """The demo as people use it; `three_users` has the story. The screenshots stay in trial's folder of this test."""

    def test_three_users(self) -> None:
        """What anna, boris and mod do by clicking shows at once on the others' pages, each as its user may see it."""
        folder = Path(self.mktemp()).absolute()
        shots = Path(self.mktemp()).absolute()
        with RunningDemo(folder, {"ORDERS_FREE_LOCK_TIME": "0"}) as demo:
            demo.wait_ready()
            story = subprocess.run(
                [sys.executable, "-m", "tests.acceptance.three_users", demo.url, str(shots)],
                capture_output=True,
                text=True,
                timeout=SECONDS,
                check=False,
            )
        self.assertEqual(story.returncode, 0, f"{story.stdout}\n{story.stderr}\nScreenshots: {shots}")
        self.assertIn("all steps done", story.stdout)
