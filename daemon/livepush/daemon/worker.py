"""One of several processes that `--workers` starts: `python -m livepush.daemon.worker`, and twistd's own words after.

It differs from `twistd` in two things. systemd's protocol for passed sockets wants their new owner named by his process
id, which only he himself knows; and it ends in order when the process that started it has gone, which it sees by the
pipe on its standard input.
"""

from __future__ import annotations

import os
import signal
import threading

STDIN = 0


def main() -> None:
    """Runs it."""
    os.environ["LISTEN_PID"] = str(os.getpid())  # before anything of Twisted's is imported, which reads it then
    from twisted.scripts.twistd import run

    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    run()


def _end_with_parent() -> None:
    while os.read(STDIN, 1024):
        pass  # nothing is ever said there
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
