"""Who a Cookie header belongs to, found out without writing anything.

`django.contrib.auth.get_user()` writes: a session that an old SECRET_KEY signed gets a new key, a void one is flushed;
the browser, which a WebSocket can't give a new cookie, is then logged out by a mere look-up. `SessionStore.load()` of
the cached_db and file engines writes too. So both are done here, by the same rules.

What can't be seen from here: a session of the signed_cookies engine lives on after its logout (until the password
changes or its age is over), because the cookie is all there is; and the file engine never ends a session with
`set_expiry(seconds)` by itself, as in Django.
"""

from __future__ import annotations

import errno
import importlib
import logging
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model, load_backend
from django.core.exceptions import SuspiciousOperation, ValidationError
from django.db import DEFAULT_DB_ALIAS, router
from django.http import parse_cookie
from django.utils.crypto import constant_time_compare

# Django's own keys are 32 of a-z0-9; other engines may use more. Nothing else may reach a database or a file name.
_KEY = re.compile(r"[A-Za-z0-9._:=-]{8,128}", re.ASCII)
_SIGNED = re.compile(r"[\x21-\x7e]{1,4096}", re.ASCII)

_log = logging.getLogger("livepush")


@dataclass(frozen=True, slots=True)
class Login:
    """Somebody who is logged in.

    Attributes:
        user: a fresh instance of the user model.
        session_key: None where the cookie holds the session itself (signed_cookies).
        auth_hash: the session's hash of the password.
    """

    user: Any
    session_key: str | None
    auth_hash: str | None


@dataclass(frozen=True, slots=True)
class Sessions:
    """How a site keeps its sessions, as Django's settings of these names say.

    Attributes:
        engine: SESSION_ENGINE, a module's dotted name.
        cookie: SESSION_COOKIE_NAME.
        backends: AUTHENTICATION_BACKENDS.
    """

    engine: str
    cookie: str
    backends: tuple[str, ...]

    def login_of(self, cookies: str) -> Login | None:
        """The user whose session a Cookie header names; None: nobody is logged in there.

        Raises:
            Exception: a database, a cache, or the code of a session engine or an authentication backend failed.
        """
        return self.login_of_key(self.key_of(cookies))

    def key_of(self, cookies: str) -> str:
        """The value of the session cookie in a Cookie header; "": there is none. Nothing is looked up."""
        return parse_cookie(cookies).get(self.cookie, "")

    def login_of_key(self, key: str) -> Login | None:
        """The same for the session cookie's value: the session's key, or with signed_cookies the session itself.

        Raises:
            Exception: as `login_of`.
        """
        from django.contrib.sessions.backends import signed_cookies

        engine: Any = importlib.import_module(self.engine).SessionStore
        signed = issubclass(engine, signed_cookies.SessionStore)
        if not (_SIGNED if signed else _KEY).fullmatch(key):
            return None
        data = read_session(engine(key))
        path, pk = data.get(BACKEND_SESSION_KEY), data.get(SESSION_KEY)
        if not isinstance(path, str) or path not in self.backends or pk is None:
            return None
        try:
            pk = get_user_model()._meta.pk.to_python(pk)
        except ValidationError:
            return None
        user: Any = load_backend(path).get_user(pk)
        if user is None or not user.is_authenticated:
            return None
        auth_hash = data.get(HASH_SESSION_KEY)
        if hasattr(user, "get_session_auth_hash") and not is_signed_by(user, auth_hash):
            return None
        return Login(user, None if signed else key, auth_hash if isinstance(auth_hash, str) else None)


def read_session(store: Any) -> dict[str, Any]:
    """A session's data, empty where there is none; like `store.load()`, but without writing.

    An engine that is not Django's is asked by its own `load()`.

    Raises:
        Exception: the storage failed. Django takes some of these for "no such session", which would log users out.
    """
    from django.contrib.sessions.backends import cache, cached_db, file

    load: Any = type(store).load
    data: Any
    if load is cached_db.SessionStore.load:
        data = _read_cached_db(store)
    elif load is cache.SessionStore.load:
        data = store._cache.get(store.cache_key)
    elif load is file.SessionStore.load:
        data = _read_file(store)
    else:
        data = store.load()
    return data if isinstance(data, dict) else {}


def _read_cached_db(store: Any) -> Any:
    try:
        data = store._cache.get(store.cache_key)
    except Exception as error:  # whatever the cache's client raises; the database knows as well
        _log.warning("The session cache failed (%s), the database is asked.", type(error).__name__)
        data = None
    if data is None:
        row = store._get_session_from_db()
        data = store.decode(row.session_data) if row else None
    return data


def _read_file(store: Any) -> Any:
    try:
        with open(store._key_to_file(), encoding="ascii") as file:
            text = file.read()
        data = store.decode(text) if text else {}
        if store.get_expiry_age(expiry=store._expiry_date(data)) <= 0:
            return None
    except (SuspiciousOperation, UnicodeDecodeError):
        return None
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENAMETOOLONG):
            return None
        raise
    return data


def is_signed_by(user: Any, auth_hash: object) -> bool:
    """Whether a session with this hash was made with the present password; all secrets are tried, whichever fits."""
    hashes = [user.get_session_auth_hash()]
    if hasattr(user, "get_session_auth_fallback_hash"):
        hashes.extend(user.get_session_auth_fallback_hash())
    given = auth_hash if isinstance(auth_hash, str) else ""
    return bool(given) and sum(constant_time_compare(given, each) for each in hashes) > 0


class _Router:
    """The first of the site's routers, once it is needed."""

    def __init__(self) -> None:
        self.chosen = threading.local()

    def db_for_read(self, model: object, **hints: object) -> str | None:
        alias: str | None = getattr(self.chosen, "alias", None)
        return alias


_router = _Router()


@contextmanager
def reading_from(alias: str) -> Iterator[None]:
    """Sends all reads of this thread to one database, whatever the site's routers say.

    Args:
        alias: `default` changes nothing: the site's routers decide.
    """
    if alias != DEFAULT_DB_ALIAS and _router not in router.routers:
        router.routers.insert(0, _router)
    _router.chosen.alias = None if alias == DEFAULT_DB_ALIAS else alias
    try:
        yield
    finally:
        _router.chosen.alias = None
