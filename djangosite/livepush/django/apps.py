"""The Django app."""

from __future__ import annotations

from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules


class LivepushConfig(AppConfig):
    """Livepush in a Django project."""

    name = "livepush.django"
    label = "livepush"
    verbose_name = "livepush"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Registers the system checks, and imports every app's `push.py`."""
        from livepush.django import checks

        checks.register()
        autodiscover_modules("push")
