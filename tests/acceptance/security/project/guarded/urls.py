"""Django's own views of logging in and out; nothing is shown."""

from __future__ import annotations

from django.contrib.auth.views import LoginView, LogoutView
from django.http import HttpRequest, HttpResponse
from django.urls import path


def index(request: HttpRequest) -> HttpResponse:
    """Who asks."""
    return HttpResponse(str(request.user.pk))


urlpatterns = [path("", index), path("login/", LoginView.as_view()), path("logout/", LogoutView.as_view())]
