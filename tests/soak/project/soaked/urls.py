"""Two views, one that publishes an event and one that does nothing; both tell how long they took.

    Server-Timing: threads;dur=8000.0, publish;dur=0.2, view;dur=3.1          milliseconds

First the server's name and the age of its process. `publish` is what livepush takes: the call, and what it does when
the transaction commits. `view` is the database's time, too: with SQLite every writer waits for the one before it.
"""

from __future__ import annotations

import os
import time

from django.http import HttpRequest, HttpResponse
from django.urls import path

from .events import say
from .journal import journal

_BEGUN = time.perf_counter()


def publish(request: HttpRequest, number: int) -> HttpResponse:
    """Publishes the event of this number, left out for the tab that asks."""
    begun = time.perf_counter()
    spent = say(journal(os.environ["SOAK_NAME"]), number, request=request)
    return _timed(spent, time.perf_counter() - begun)


def nothing(request: HttpRequest) -> HttpResponse:
    """What the machine and the server take by themselves."""
    return _timed(0.0, 0.0)


def _timed(publish: float, view: float) -> HttpResponse:
    times = {os.environ["SOAK_NAME"]: time.perf_counter() - _BEGUN, "publish": publish, "view": view}
    told = ", ".join(f"{name};dur={seconds * 1000:.2f}" for name, seconds in times.items())
    return HttpResponse(status=204, headers={"Server-Timing": told})


urlpatterns = [path("publish/<int:number>", publish), path("nothing", nothing)]
