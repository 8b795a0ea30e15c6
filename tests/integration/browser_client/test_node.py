"""livepush.js in Node, in a page that is all made up: every timer, every socket, every chance.

The tests themselves are the `*.test.mjs` beside this file; each stands for one test here, which fails with its output.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.browser_client.shop import STATIC

HERE = Path(__file__).resolve().parent


class NodeTests(SynchronousTestCase):
    """One file of tests each."""

    def setUp(self) -> None:
        node = shutil.which("node")
        if node is None:
            self.fail("node is not installed: `make test` installs what the tests need")
        self.node = node

    def run_file(self, name: str) -> None:
        command = [self.node, "--test", "--test-reporter=tap", str(HERE / f"{name}.test.mjs")]
        run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        if run.returncode or not re.search(r"^# pass [1-9]", run.stdout, re.MULTILINE):
            self.fail(f"{name}.test.mjs\n{run.stdout}{run.stderr}")

    def test_connection(self) -> None:
        """When the connection begins, how it ends and when it comes back."""
        self.run_file("connection")

    def test_channels(self) -> None:
        """Who hears what, once."""
        self.run_file("channels")

    def test_calls(self) -> None:
        """What a page asks the site's code, and how it learns what became of it."""
        self.run_file("calls")

    def test_positions(self) -> None:
        """Where a page goes on after it was away, and what it takes for missing."""
        self.run_file("positions")

    def test_reload(self) -> None:
        """Nothing is missing in silence, and not all pages reload in the same second."""
        self.run_file("reload")

    def test_presence(self) -> None:
        """Who else is here, and that nobody knows."""
        self.run_file("presence")

    def test_ticket(self) -> None:
        """Who has no cookie says by a ticket who it is."""
        self.run_file("ticket")

    def test_marking(self) -> None:
        """The id of a tab, and the requests that carry it."""
        self.run_file("marking")

    def test_every_file_runs(self) -> None:
        """No file of tests is forgotten here."""
        files = {path.name.removesuffix(".test.mjs") for path in HERE.glob("*.test.mjs")}
        self.assertTrue(files)
        self.assertEqual([name for name in sorted(files) if not hasattr(self, f"test_{name}")], [])

    def test_syntax(self) -> None:
        """The script needs nothing newer than ES2018, never evaluates text and writes no HTML."""
        code = re.sub(r"//[^\n]*|/\*.*?\*/", "", (STATIC / "livepush.js").read_text("utf-8"), flags=re.DOTALL)
        self.assertIn("use strict", code)
        newer = r"\?\.[^0-9]|\?\?|catch \{|\basync\b|\bawait\b|\bimport\b|\.flat\(|\.at\(|#[a-z]"
        forbidden = r"\beval\(|new Function|innerHTML|outerHTML|document\.write|setAttribute|insertAdjacent"
        self.assertEqual(re.findall(newer, code), [])
        self.assertEqual(re.findall(forbidden, code), [])
