"""The one view: a POST publishes one event."""

from __future__ import annotations

import os

from django.http import HttpRequest, HttpResponse
from django.urls import path

from .events import say
from .journal import journal


def publish(request: HttpRequest, number: int) -> HttpResponse:
    """Publishes the event of this number, left out for the tab that asks."""
    say(journal(os.environ["SOAK_NAME"]), number, request=request)
    return HttpResponse(status=204)


urlpatterns = [path("publish/<int:number>", publish)]
