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
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model, load_backend
from django.core.cache import InvalidCacheBackendError
from django.core.exceptions import SuspiciousOperation, ValidationError
from django.db import DEFAULT_DB_ALIAS, router
from django.http import parse_cookie
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from livepush.broker.envelope import session_hash
from livepush.django.users import each, fetch_users

# Django's own keys are 32 of a-z0-9; other engines may use more. Nothing else may reach a database or a file name.
_KEY = re.compile(r"[A-Za-z0-9._:=-]{8,128}", re.ASCII)
_SIGNED = re.compile(r"[\x21-\x7e]{1,4096}", re.ASCII)

_QUERY = "_get_session_from_db"  # of Django's two engines that keep sessions in a table

_log = logging.getLogger("livepush")


@dataclass(frozen=True, slots=True)
class Login:
    """Somebody who is logged in.

    Attributes:
        user: a fresh instance of the user model.
        session_key: None where the cookie holds the session itself (signed_cookies).
        auth_hash: the session's hash of the password.
        origin: where there is no session key, the `session_hash` of the cookie, by which its logout is told.
    """

    user: Any
    session_key: str | None
    auth_hash: str | None
    origin: str | None = None


@dataclass(frozen=True, slots=True)
class _Claim:
    """What a session says of its user."""

    key: str
    path: str
    pk: Any
    auth_hash: object

    def judged_by(self, user: Any, signed: bool) -> Login | Exception | None:
        """The login, if the user as he is now bears it out."""
        if user is None or isinstance(user, Exception):
            return user
        try:
            if not user.is_authenticated:
                return None
            if hasattr(user, "get_session_auth_hash") and not is_signed_by(user, self.auth_hash):
                return None
        except Exception as error:  # the site's user model, for one user
            return error
        auth_hash = self.auth_hash if isinstance(self.auth_hash, str) else None
        return Login(user, None, auth_hash, session_hash(self.key)) if signed else Login(user, self.key, auth_hash)


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
        found = self.logins_of_keys([key])[key]
        if isinstance(found, Exception):
            raise found
        return found

    def logins_of_keys(self, keys: Collection[str]) -> dict[str, Login | Exception | None]:
        """The same for many, in as few queries as the session engine and the backends allow.

        Django's own engines `db`, `cached_db` and `cache` are asked once for all, others for each. An error of the
        site's code that is one key's own is its answer.

        Raises:
            Exception: what failed for all: a database, a cache.
        """
        from django.contrib.sessions.backends import signed_cookies

        engine: Any = importlib.import_module(self.engine).SessionStore
        signed = issubclass(engine, signed_cookies.SessionStore)
        form = _SIGNED if signed else _KEY
        found: dict[str, Login | Exception | None] = dict.fromkeys(keys)
        claims: dict[str, list[_Claim]] = defaultdict(list)
        for key, data in read_sessions({key: engine(key) for key in found if form.fullmatch(key)}).items():
            if isinstance(data, Exception):
                found[key] = data
            elif (claim := self._claim(key, data)) is not None:
                claims[claim.path].append(claim)
        for path, of_path in claims.items():
            users = fetch_users(load_backend(path), {claim.pk for claim in of_path})
            for claim in of_path:
                found[claim.key] = claim.judged_by(users[claim.pk], signed)
        return found

    def are_gone(self, keys: Collection[str]) -> dict[str, bool | Exception]:
        """Whether nothing is kept under these keys any more, in one query where the engine allows.

        Raises:
            Exception: as `logins_of_keys`.
        """
        engine: Any = importlib.import_module(self.engine).SessionStore
        kept = read_sessions({key: engine(key) for key in keys})
        return {key: data if isinstance(data, Exception) else not data for key, data in kept.items()}

    def _claim(self, key: str, data: dict[str, Any]) -> _Claim | None:
        """What a session says of its user; None: nobody is logged in there."""
        path, pk = data.get(BACKEND_SESSION_KEY), data.get(SESSION_KEY)
        if not isinstance(path, str) or path not in self.backends or pk is None:
            return None
        try:
            pk = get_user_model()._meta.pk.to_python(pk)
        except ValidationError:
            return None
        return _Claim(key, path, pk, data.get(HASH_SESSION_KEY))


def have_keys(engine: str) -> bool:
    """Whether sessions are kept under a key; with signed_cookies they are not kept at all.

    Args:
        engine: SESSION_ENGINE.
    """
    from django.contrib.sessions.backends import signed_cookies

    return not issubclass(importlib.import_module(engine).SessionStore, signed_cookies.SessionStore)


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
    return _dict(data)


def read_sessions(stores: Mapping[str, Any]) -> dict[str, Any]:
    """The data of many sessions, by key, each as `read_session` reads it, or the error that is its own.

    Args:
        stores: of one engine, by key.

    Raises:
        Exception: the storage failed for all.
    """
    from django.contrib.sessions.backends import cache, cached_db, db

    engine: Any = type(next(iter(stores.values()), None))
    load: Any = getattr(engine, "load", None)
    own_query = getattr(engine, _QUERY, None) is getattr(db.SessionStore, _QUERY)
    if len(stores) > 1 and load is db.SessionStore.load and own_query:
        return _read_rows(stores)
    if len(stores) > 1 and load is cached_db.SessionStore.load and own_query:
        try:
            found = _read_cache(stores)
        except Exception as error:  # as for one
            _log.warning("The session cache failed (%s), the database is asked.", type(error).__name__)
            found = {}
        return found | _read_rows({key: store for key, store in stores.items() if key not in found})
    if len(stores) > 1 and load is cache.SessionStore.load:
        return {key: {} for key in stores} | _read_cache(stores)
    return each(stores, lambda key: read_session(stores[key]))


def _read_rows(stores: Mapping[str, Any]) -> dict[str, Any]:
    """One query for all that are in the database."""
    found: dict[str, Any] = {key: {} for key in stores}
    if stores:
        model: Any = next(iter(stores.values())).model
        for row in model.objects.filter(session_key__in=list(stores), expire_date__gt=timezone.now()):
            if row.session_key in found:
                found[row.session_key] = _dict(stores[row.session_key].decode(row.session_data))
    return found


def _read_cache(stores: Mapping[str, Any]) -> dict[str, Any]:
    """One request for all that are in the cache, and only those."""
    keys = {store.cache_key: key for key, store in stores.items()}
    held: dict[str, Any] = next(iter(stores.values()))._cache.get_many(list(keys))
    return {keys[name]: _dict(data) for name, data in held.items() if data is not None}


def _dict(data: Any) -> dict[str, Any]:
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


class SessionFault(NamedTuple):
    """What is wrong with how sessions are kept.

    Attributes:
        hidden: the daemon finds no session at all; else it finds them, and not their ends.
        what: the fault.
        remedy: what to do about it.
    """

    hidden: bool
    what: str
    remedy: str


def session_fault(engine_path: str, cache_alias: str) -> SessionFault | None:
    """Why the daemon can't read a site's sessions, or can't see that one has ended; None: it can.

    Args:
        engine_path: SESSION_ENGINE.
        cache_alias: SESSION_CACHE_ALIAS.
    """
    from django.contrib.sessions.backends import cache, signed_cookies
    from django.core.cache import caches
    from django.core.cache.backends import dummy, locmem

    try:
        engine: Any = importlib.import_module(engine_path).SessionStore
        kept: Any = caches[cache_alias] if issubclass(engine, cache.SessionStore) else None
    except (ImportError, AttributeError, InvalidCacheBackendError):
        return None  # Django says so itself
    if issubclass(engine, signed_cookies.SessionStore):
        what = "Sessions are kept in signed cookies, so that a logout ends no session whose cookie somebody has kept."
        remedy = (
            "Open pages end with another password and with livepush.django.disconnect(user); a kept cookie connects "
            "until SESSION_COOKIE_AGE is over. Keep sessions in the database or a cache if that matters, or silence "
            "this warning."
        )
        return SessionFault(False, what, remedy)
    if isinstance(kept, locmem.LocMemCache | dummy.DummyCache):
        what = f"Sessions are kept in {type(kept).__name__}, which no other process sees: the daemon knows nobody."
        remedy = 'Set SESSION_ENGINE to "django.contrib.sessions.backends.cached_db", or share the cache (Redis).'
        return SessionFault(True, what, remedy)
    return None


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
