"""The attacked site as a process; see `guarded.console`."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.servers import guard


class Console:
    """Runs Python in the site, a piece at a time.

    Args:
        folder: its working directory.
        environ: the whole of its environment.
        log: the file that its errors are added to.
    """

    def __init__(self, folder: Path, environ: Mapping[str, str], log: Path) -> None:
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "guarded.console"],
                cwd=folder,
                env=environ,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
            )
        guard.watch(self._process.pid, signal.SIGKILL)
        self._lock = threading.Lock()

    def __call__(self, text: str, **names: Any) -> Any:
        """The value of the last line; `names` are there as its variables, as JSON has them.

        Raises:
            AssertionError: it failed in the site; with the traceback.
        """
        told = "".join(f"{name} = {value!r}\n" for name, value in names.items()) + text
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        with self._lock:
            process.stdin.write(json.dumps(told) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        answer = json.loads(line) if line else {"error": "the site's process has ended"}
        if "error" in answer:
            raise AssertionError(answer["error"])
        return answer["value"]

    def close(self) -> None:
        """Ends it."""
        guard.forget(self._process.pid)
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
