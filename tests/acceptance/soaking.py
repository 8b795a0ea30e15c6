"""Runs of `python -m tests.soak`, of tests."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).resolve().parents[2]
LONGEST_SECONDS = 300.0


class SoakCase(SynchronousTestCase):
    """Runs it, and gives what it says."""

    def run_soak(self, *words: str) -> tuple[int, str]:
        """Its exit status and what it printed; ended with all that it started if it takes too long."""
        environ = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.soak", *words],
            cwd=ROOT,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            printed, _ = process.communicate(timeout=LONGEST_SECONDS)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGTERM)
            printed, _ = process.communicate()
        return process.returncode, printed
