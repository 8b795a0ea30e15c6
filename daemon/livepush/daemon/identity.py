"""What the daemon must know of a Django site, and who asks it further: the door by which Django is set up.

load()     Django is set up from a settings module
site()     of a Django that is set up: settings, declared channels and whose pages may connect, as plain values, and
           the `Identifier` that finds out who a visitor is
"""

from __future__ import annotations

import importlib
import os
import sys
from dataclasses import dataclass
from typing import Any

import django
from django.conf import settings as django_settings
from django.core import checks
from django.core.exceptions import ImproperlyConfigured

from livepush.daemon.entitlement import Directory
from livepush.daemon.identifier import Identifier
from livepush.daemon.origin import OriginSettings
from livepush.daemon.reader import IdentitySettings, Reader, directory_of
from livepush.django import channels, conf
from livepush.django.sessions import Sessions


@dataclass(frozen=True, slots=True)
class Site:
    """What the daemon knows of a Django site.

    Attributes:
        conf: its `LIVEPUSH_*` settings.
        directory: its declared channels.
        origins: whose pages may use its cookies.
        identifier: who its users are; not started.
    """

    conf: conf.Conf
    directory: Directory
    origins: OriginSettings
    identifier: Identifier


def load(settings_module: str | None, pythonpath: str, reactor: Any = None) -> Site:
    """Sets Django up and looks at the site. Blocking, so before the reactor runs.

    Args:
        settings_module: None: the environment's DJANGO_SETTINGS_MODULE.
        pythonpath: the folder that it is imported from.
        reactor: as for `site`.

    Raises:
        ImproperlyConfigured: there are no such settings, Django refuses them, or they or a declaration have faults:
            one line for each.
    """
    folder = os.path.abspath(pythonpath)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    if settings_module is not None:
        os.environ["DJANGO_SETTINGS_MODULE"] = settings_module
    name = os.environ.get("DJANGO_SETTINGS_MODULE")
    if not name:
        raise ImproperlyConfigured("there is no settings module: give --settings or set DJANGO_SETTINGS_MODULE")
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        raise ImproperlyConfigured(
            f"there is no settings module {name} in {folder} or on the path: correct --settings or --pythonpath"
        ) from None
    django.setup()
    return site(reactor)


def site(reactor: Any = None) -> Site:
    """Looks at the site of a Django that is set up.

    Args:
        reactor: None: Twisted's, which must have been chosen by now.

    Raises:
        ImproperlyConfigured: the settings or a declaration have faults: one line for each.
    """
    if reactor is None:
        from twisted.internet import reactor
    if not any(entry == "livepush.django" or entry.startswith("livepush.django.") for entry in _installed()):
        raise ImproperlyConfigured('livepush.django is not installed: add "livepush.django" to INSTALLED_APPS')
    found = [each for each in checks.run_checks(tags=["livepush"]) if each.is_serious() and not each.is_silenced()]
    if found:
        raise ImproperlyConfigured("\n".join(f"{_line(each)} ({each.id})" for each in found))
    known = conf.conf()
    return Site(
        conf=known,
        directory=directory_of(channels.declared),
        origins=OriginSettings(
            allowed=known.allowed_origins,
            trusted=tuple(django_settings.CSRF_TRUSTED_ORIGINS),
            hosts=_hosts(),
            https_only=bool(django_settings.SECURE_SSL_REDIRECT or django_settings.SESSION_COOKIE_SECURE),
            development=bool(django_settings.DEBUG),
        ),
        identifier=Identifier(Reader(_identity_settings(known), channels.declared), reactor),
    )


def sessions_of_site() -> Sessions:
    """How Django's settings say that sessions are kept."""
    return Sessions(
        django_settings.SESSION_ENGINE,
        django_settings.SESSION_COOKIE_NAME,
        tuple(django_settings.AUTHENTICATION_BACKENDS),
    )


def _identity_settings(known: conf.Conf) -> IdentitySettings:
    return IdentitySettings(
        sessions_of_site(), known.auth_threads, known.auth_queue, known.auth_database, known.anonymous
    )


def _installed() -> list[str]:
    return list(django_settings.INSTALLED_APPS)


def _hosts() -> tuple[str, ...]:
    """As Django itself reads ALLOWED_HOSTS, with its default for development."""
    if django_settings.DEBUG and not django_settings.ALLOWED_HOSTS:
        return (".localhost", "127.0.0.1", "[::1]")
    return tuple(django_settings.ALLOWED_HOSTS)


def _line(message: checks.CheckMessage) -> str:
    """A check's message as one line."""
    place = f"{message.obj}: " if message.obj is not None else ""
    return f"{place}{message.msg}{f' {message.hint}' if message.hint else ''}"
