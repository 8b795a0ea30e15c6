"""A site's process that publishes numbers at a pace, until it is told to end.

publisher = Publisher(site, url_of_a_rabbitmq, rate=50)
self.addCleanup(publisher.kill)
...
moments = publisher.end()                  # when each was published: number 1, 2, 3 ...
"""

from __future__ import annotations

import json
import sys

from tests.servers.daemon import DjangoSite, clean_environment
from tests.servers.program import Program

_SCRIPT = """
import json, sys, threading, time, django
django.setup()
from livepush.django import publish

ended = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
moments = []
while not ended.wait(1 / float(sys.argv[1])):
    moments.append(time.monotonic())
    last = publish("news", "note", {"name": str(len(moments))})
last.result(30)
print(json.dumps(moments), flush=True)
"""


class Publisher(Program):
    """It publishes `note` on `news`, with the number as text in `name`.

    Args:
        site: whose process it is.
        broker: address of a RabbitMQ.
        rate: events a second, at most.
    """

    def __init__(self, site: DjangoSite, broker: str, rate: float) -> None:
        environ = clean_environment(
            DJANGO_SETTINGS_MODULE="shop.settings", PYTHONPATH=str(site.folder), LIVEPUSH_BROKER_URL=broker
        )
        super().__init__([sys.executable, "-c", _SCRIPT, str(rate)], site.folder, environ, listens=True)

    def end(self) -> list[float]:
        """Ends it, when the broker has confirmed the last; the moment of each, of the monotonic clock."""
        self.hang_up()
        moments: list[float] = json.loads(self.wait_for(r"^\["))
        return moments
