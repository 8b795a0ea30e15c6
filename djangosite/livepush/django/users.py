"""Many users at once, and what they may: a few queries for all of them, where Django would ask for each.

    fetch_users         one query for all, where the authentication backend's `get_user` is Django's own
    fill_permissions    three queries for all, where permissions are Django's own: the caches that its `ModelBackend`
                        keeps in a user are filled, and `has_perm` of user and backends is asked as ever

Where a site has a backend or a user model of its own, its code is asked for each user. Nothing here writes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable
from typing import Any, TypeVar

from django.contrib.auth import get_backends, get_user_model
from django.db import InterfaceError, OperationalError

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")

_QUERIES = ("_get_permissions", "_get_user_permissions", "_get_group_permissions")
LOST = (OperationalError, InterfaceError)
"""The database does not answer: it will not for the next user either."""


def each(keys: Iterable[K], ask: Callable[[K], T]) -> dict[K, T | Exception]:
    """What is asked for each, or the error that is its own; when the database does not answer, nobody else is asked."""
    found: dict[K, T | Exception] = {}
    lost: Exception | None = None
    for key in keys:
        if lost is not None:
            found[key] = lost
            continue
        try:
            found[key] = ask(key)
        except Exception as error:  # the site's code; the caller says what becomes of it
            found[key] = error
            if isinstance(error, LOST):
                lost = error
    return found


def fetch_users(backend: Any, pks: Collection[Any]) -> dict[Any, Any]:
    """What a backend's `get_user` says of each primary key: a fresh user, None, or the error as a value.

    Args:
        backend: an authentication backend.
        pks: each as its field's `to_python` makes it.

    Raises:
        django.db.Error: the database failed.
    """
    from django.contrib.auth.backends import ModelBackend

    if len(pks) < 2 or getattr(type(backend), "get_user", None) is not ModelBackend.get_user:
        return each(pks, backend.get_user)
    users: dict[Any, Any]
    try:
        users = {user.pk: user for user in get_user_model()._default_manager.filter(pk__in=pks)}
    except LOST:
        raise
    except Exception:  # one of them is no key for this database; who it is shows when each is asked
        return each(pks, backend.get_user)
    return each(pks, lambda pk: users[pk] if pk in users and backend.user_can_authenticate(users[pk]) else None)


def fetch_known(pks: Collection[Any]) -> dict[Any, Any]:
    """The same users as they are now, as the first backend that knows each of them says."""
    found: dict[Any, Any] = dict.fromkeys(pks)
    for backend in get_backends():
        unknown = [pk for pk, user in found.items() if user is None]
        if unknown and hasattr(backend, "get_user"):
            found.update(fetch_users(backend, unknown))
    return found


def fill_permissions(users: Iterable[Any]) -> None:
    """Reads the permissions of all these users, where Django's own code would read them one user at a time.

    Raises:
        django.db.Error: the database failed.
    """
    lacking: dict[Any, list[Any]] = defaultdict(list)
    for user in users:
        if getattr(user, "is_active", False) and not user.is_superuser:
            lacking[user.pk].append(user)
    if len(lacking) < 2:
        return
    own, of_groups = _permissions_of(lacking)
    for pk, same in lacking.items():
        for user in same:
            user._user_perm_cache = set(own.get(pk, ()))
            user._group_perm_cache = set(of_groups.get(pk, ()))


def may_fill() -> bool:
    """Whether `fill_permissions` reads what the backends would: users and permissions are Django's own."""
    from django.contrib.auth.backends import ModelBackend
    from django.contrib.auth.models import PermissionsMixin

    if not issubclass(get_user_model(), PermissionsMixin):
        return False
    backends = [type(backend) for backend in get_backends() if isinstance(backend, ModelBackend)]
    own = all(getattr(backend, name) is getattr(ModelBackend, name) for backend in backends for name in _QUERIES)
    return bool(backends) and own


def _permissions_of(pks: Collection[Any]) -> tuple[dict[Any, set[str]], dict[Any, set[str]]]:
    """The users' own permissions, and those of their groups."""
    from django.contrib.auth.models import Group, Permission

    options: Any = get_user_model()._meta
    own: dict[Any, set[str]] = defaultdict(set)
    user = options.get_field("user_permissions").related_query_name()
    direct: Any = Permission.objects.filter(**{f"{user}__in": pks})
    for pk, label, codename in direct.values_list(f"{user}__pk", "content_type__app_label", "codename").order_by():
        own[pk].add(f"{label}.{codename}")
    members: dict[Any, list[Any]] = defaultdict(list)
    user = options.get_field("groups").related_query_name()
    groups: Any = Group.objects.filter(**{f"{user}__in": pks})
    for pk, group in groups.values_list(f"{user}__pk", "pk").order_by():
        members[group].append(pk)
    of_groups: dict[Any, set[str]] = defaultdict(set)
    if members:
        held: Any = Permission.objects.filter(group__in=list(members))
        for group, label, codename in held.values_list("group__pk", "content_type__app_label", "codename").order_by():
            for pk in members[group]:
                of_groups[pk].add(f"{label}.{codename}")
    return own, of_groups
