"""How gunicorn serves the demo: `gunicorn -c python:exchange.serving exchange.wsgi`.

A file rather than options, because gunicorn passes over settings in it that an older version does not know.
"""

from __future__ import annotations

import os

from exchange.environment import Environment

bind = f"127.0.0.1:{Environment.read(os.environ).site_port}"
workers = 2
threads = 4
graceful_timeout = 2  # the runner kills after 4 s
control_socket_disable = True  # two demos would fight for it
