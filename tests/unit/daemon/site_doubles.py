"""A small site: its channels, its backends, and a browser's cookies."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth.models import Group, Permission, User
from django.core.exceptions import PermissionDenied
from django.db import OperationalError
from django.test import Client

from livepush.daemon.identity import sessions_of_site
from livepush.daemon.reader import IdentitySettings
from livepush.django.channels import Audience, Channel, Registry

MODEL_BACKEND = "django.contrib.auth.backends.ModelBackend"


class GenerousBackend:
    """Grants one permission to everybody, anonymous visitors too."""

    def get_user(self, pk: Any) -> User | None:
        return User.objects.filter(pk=pk).first()

    def has_perm(self, user: Any, perm: str, obj: Any = None) -> bool:
        return perm == "auth.add_group"


class FailingBackend:
    """Is out of order."""

    def get_user(self, pk: Any) -> User | None:
        raise RuntimeError("out of order")


def make_registry() -> Registry:
    """orders for two permissions, rooms.{room} with a rule, lobby for everybody."""
    registry = Registry()

    class Orders(Channel, registry=registry):
        name = "orders"
        auto = True
        audiences = [Audience("moderator", perm="auth.delete_group"), Audience("client", perm="auth.add_group")]

    class Rooms(Channel, registry=registry):
        name = "rooms.{room}"
        audiences = [Audience("member")]

        def allows(self, user: Any, room: str) -> Any:  # type: ignore[override]
            match room:
                case "mine":
                    return user.get_username() == "anna"
                case "groups":
                    return user.groups.filter(name="in").exists()
                case "guests":
                    return user.is_anonymous
                case "missing":
                    return Group.objects.get(name="nope")
                case "denied":
                    raise PermissionDenied
                case "broken":
                    raise RuntimeError("a fault in the rule")
                case "down":
                    raise OperationalError("the database is away")
                case "late":
                    return self.late()
            return None

        async def late(self) -> bool:
            return True

    class Lobby(Channel, registry=registry):
        name = "lobby"
        audiences = [Audience("all")]

    return registry


def login(user: User, backend: str = MODEL_BACKEND) -> str:
    """The Cookie header of a browser in which he has logged in."""
    client = Client()
    client.force_login(user, backend=backend)
    return f"{settings.SESSION_COOKIE_NAME}={client.cookies[settings.SESSION_COOKIE_NAME].value}"


def grant(user: User, codename: str) -> None:
    user.user_permissions.add(Permission.objects.get(codename=codename))


def make_settings(**changes: Any) -> IdentitySettings:
    return IdentitySettings(sessions_of_site(), **changes)
