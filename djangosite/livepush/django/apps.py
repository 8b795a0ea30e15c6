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
        """Registers checks, listens to what Django tells of users, imports each `push.py` and what publishing needs."""
        from livepush.broker import publisher  # noqa: F401 - 50 ms and more: no view is to wait for it
        from livepush.django import checks
        from livepush.django.conf import setting
        from livepush.django.receivers import receivers

        checks.register()
        receivers.unrelated = frozenset(setting("unrelated_user_fields"))
        receivers.connect(setting("signals"))
        autodiscover_modules("push")
