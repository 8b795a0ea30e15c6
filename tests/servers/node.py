"""Node, with the stock clients of `tests/node/package.json`, as a process that tests talk to line by line.

with Script(HERE / "client.mjs", str(port)) as script:
    script.wait_for("connected")          # the arguments of a printed JSON line ["connected", ...]
    script.say("emit", "news")            # one JSON line to its standard input

A script prints one JSON array a line, whose first element is a word; it ends when its standard input does.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

FOLDER = Path(__file__).resolve().parents[1] / "node"
WAIT_SECONDS = 30.0
INSTALL_SECONDS = 300.0


class NoNode(Exception):
    """Node is missing, or its packages can't be installed."""


@cache
def node() -> str:
    """The path of node, its packages installed: once for each state of the lock file."""
    found = shutil.which("node")
    if found is None:
        raise NoNode("node is not installed: `make test` installs what the tests need")
    wanted = (FOLDER / "package-lock.json").read_bytes()
    done = FOLDER / "node_modules" / ".installed-lock.json"
    with (FOLDER / "package-lock.json").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # test processes run side by side
        if not done.exists() or done.read_bytes() != wanted:
            command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
            run = subprocess.run(
                command, cwd=FOLDER, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False
            )
            if run.returncode:
                raise NoNode(f"npm ci failed in {FOLDER}:\n{run.stdout}{run.stderr}")
            done.write_bytes(wanted)
    return found


class Script:
    """One running script.

    Args:
        path: of the `.mjs` file, anywhere in the tests. It finds the stock clients with
            `createRequire(process.env.LIVEPUSH_NODE)`.
        words: its arguments.
    """

    def __init__(self, path: Path, *words: str) -> None:
        self._process = subprocess.Popen(
            [node(), str(path), *words],
            env={**os.environ, "LIVEPUSH_NODE": str(FOLDER / "package.json")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
        )
        self._lines: list[Any] = []
        self._taken = 0
        self._ended = False
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, name=f"output of {path.name}", daemon=True)
        self._reader.start()

    @property
    def said(self) -> list[Any]:
        """All that it has printed: JSON arrays, and lines that are none as texts."""
        with self._changed:
            return list(self._lines)

    def wait_for(self, word: str, seconds: float = WAIT_SECONDS) -> list[Any]:
        """What stands behind the word in the next line that begins with it; lines before it are passed over.

        Raises:
            AssertionError: the script ended, or the line did not come in time; with all that it printed.
        """
        line: list[Any] = self.wait_until(lambda line: isinstance(line, list) and line[:1] == [word], seconds, word)
        return line[1:]

    def wait_until(self, fits: Callable[[Any], bool], seconds: float = WAIT_SECONDS, what: str = "such line") -> Any:
        """The next line that fits; lines before it are passed over."""
        found: list[Any] = []

        def look() -> bool:
            while self._taken < len(self._lines) and not found:
                line = self._lines[self._taken]
                self._taken += 1
                if fits(line):
                    found.append(line)
            return bool(found) or self._ended

        with self._changed:
            self._changed.wait_for(look, seconds)
            if not found:
                raise AssertionError(f"no {what!r} in: {self._lines!r}")
            return found[0]

    def say(self, *words: Any) -> None:
        """One line to its standard input."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(words) + "\n")
        self._process.stdin.flush()

    def end(self) -> None:
        """Ends it in any case. May be called twice."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._reader.join(WAIT_SECONDS)
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            try:
                said = json.loads(line)
            except ValueError:
                said = line
            with self._changed:
                self._lines.append(said)
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()
