"""The Django app."""

from __future__ import annotations

from django.apps import AppConfig


class LivepushConfig(AppConfig):
    """Livepush in a Django project."""

    name = "livepush.django"
    label = "livepush"
    verbose_name = "livepush"
