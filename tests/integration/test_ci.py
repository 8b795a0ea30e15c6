"""What continuous integration trusts: the closing line of `.ci/run`, and the script that fetches servers."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).resolve().parents[2]


class RunTests(SynchronousTestCase):
    """`.ci/run`, in a checkout whose Makefile only pretends."""

    def run_with(self, test: str, lint: str = "true") -> tuple[int, str]:
        """Its exit code and last line when `make lint` and `make test` run these commands."""
        checkout = Path(self.mktemp())
        (checkout / ".ci").mkdir(parents=True)
        shutil.copy(ROOT / ".ci/run", checkout / ".ci/run")
        (checkout / "Makefile").write_text(f"lint:\n\t@{lint}\ntest:\n\t@{test}\n")
        done = subprocess.run(
            ["bash", checkout / ".ci/run"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout.strip().rpartition("\n")[2]

    def test_passed(self) -> None:
        """Its last line counts what passed."""
        code, last = self.run_with(r"printf 'Ran 7 tests in 1.5s\n\nPASSED (successes=7)\n'")
        self.assertEqual((code, last), (0, "7 passed, 0 failed"))

    def test_skipped(self) -> None:
        """A test that was skipped did not pass."""
        code, last = self.run_with(r"printf 'Ran 7 tests in 1.5s\n\nPASSED (skips=2, successes=5)\n'")
        self.assertEqual((code, last), (0, "5 passed, 0 failed"))

    def test_failed(self) -> None:
        """Nothing is said to have passed when something failed, even if the command's exit code hides it."""
        summary = r"printf 'Ran 7 tests in 1.5s\n\nFAILED (failures=1, errors=1, successes=6)\n'"
        for command in (summary, f"{summary}; false"):
            code, last = self.run_with(command)
            self.assertNotEqual(code, 0)
            self.assertNotIn("passed", last)

    def test_exit_code(self) -> None:
        """A failing command fails the run, whatever it printed."""
        passed = r"printf 'Ran 7 tests in 1.5s\n\nPASSED (successes=7)\n'"
        for command, lint in ((f"{passed}; false", "true"), (passed, "false")):
            code, last = self.run_with(command, lint)
            self.assertNotEqual(code, 0)
            self.assertNotIn("passed, ", last)

    def test_nothing_ran(self) -> None:
        """A run of no tests is no success."""
        for command in ("true", r"printf 'Ran 0 tests in 0.0s\n\nPASSED\n'"):
            self.assertNotEqual(self.run_with(command)[0], 0)


class InstallTests(SynchronousTestCase):
    """`tests/install_servers.sh`, on machines that are only pretended by what is on the PATH."""

    def run_with(self, *programs: str) -> tuple[int, str, list[str]]:
        """Exit code, output, and which of the programs were run (each does nothing; `id` says: an ordinary user)."""
        folder = Path(self.mktemp()).resolve()
        folder.mkdir(parents=True)
        for name in ("id", *programs):
            program = folder / name
            program.write_text(f'#!/bin/sh\necho {name} >> "{folder}/ran"\n[ {name} != id ] || echo 1000\n')
            program.chmod(0o755)
        (folder / "ran").touch()
        bash = shutil.which("bash") or "bash"
        done = subprocess.run(
            [bash, ROOT / "tests/install_servers.sh"],
            env={**os.environ, "PATH": str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout, (folder / "ran").read_text().split()

    def test_all_there(self) -> None:
        """When nothing is missing nothing is run."""
        there = ("rabbitmq-server", "redis-server", "initdb", "nginx", "promtool", "chromium", "node", "npm", "apt-get")
        self.assertEqual(self.run_with(*there), (0, "", []))

    def test_may_not_install(self) -> None:
        """Who may not install is told what is missing, and that is all."""
        code, text, ran = self.run_with("rabbitmq-server", "redis-server", "npm", "apt-get")
        self.assertEqual(code, 1)
        self.assertIn("chromium nodejs", text)
        self.assertNotIn("redis-server", text)
        self.assertNotIn("apt-get", ran)

    def test_no_apt(self) -> None:
        """Where there is no apt-get it says so, and what is missing."""
        code, text, _ = self.run_with("rabbitmq-server", "redis-server", "chromium", "npm")
        self.assertEqual(code, 1)
        self.assertIn("nodejs", text)
        self.assertIn("no apt-get", text)
