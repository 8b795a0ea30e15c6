"""How gunicorn serves it: `gunicorn -c python:soaked.serving soaked.wsgi`, with or without threads."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

bind = f"127.0.0.1:{os.environ['SOAK_PORT']}"
threads = int(os.environ["SOAK_THREADS"])
workers = 1 if threads > 1 else 2
preload_app = threads == 1
max_requests = 0 if threads > 1 else 150  # workers that end in the middle of the traffic
max_requests_jitter = 50
graceful_timeout = 10
control_socket_disable = True


def post_fork(_server: Any, worker: Any) -> None:
    """Leaves its pid where a fault finds it."""
    folder = Path(os.environ["SOAK_FOLDER"]) / "workers"
    (folder / str(worker.pid)).write_text(os.environ["SOAK_NAME"])
