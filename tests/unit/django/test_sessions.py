"""Reading sessions of all five engines, and writing nothing."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.sessions.backends import file
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.db import connection, router
from django.test import Client, override_settings
from django.utils import timezone

from livepush.django.sessions import Login, Sessions, reading_from
from tests.cases import DjangoCase

ENGINES = ("db", "cache", "cached_db", "file", "signed_cookies")
MODEL_BACKEND = "django.contrib.auth.backends.ModelBackend"
WRITES = ("INSERT", "UPDATE", "DELETE", "REPLACE", "CREATE", "DROP", "ALTER")


class OpenBackend:
    """A backend for which everybody is known, active or not."""

    def get_user(self, pk: Any) -> User | None:
        return User.objects.filter(pk=pk).first()


class RefusingBackend:
    """A backend that knows nobody."""

    def get_user(self, pk: Any) -> User | None:
        return None


@contextmanager
def read_only() -> Iterator[None]:
    """Fails the test when SQL is written."""

    def refuse(execute: Callable[..., Any], sql: str, *args: Any) -> Any:
        if sql.lstrip().upper().startswith(WRITES):
            raise AssertionError(f"wrote: {sql}")
        return execute(sql, *args)

    with connection.execute_wrapper(refuse):
        yield


def forget_folder() -> None:
    """Django's file engine remembers its folder for the life of the process."""
    if "_storage_path" in file.SessionStore.__dict__:
        del file.SessionStore._storage_path  # type: ignore[attr-defined]


class SessionsCase(DjangoCase):
    """A user, anna, and folders for the file engine."""

    def setUp(self) -> None:
        super().setUp()
        self.anna = User.objects.create_user("anna", password="pw")
        self.folder = Path(self.mktemp()).resolve()
        self.folder.mkdir()
        self.enterContext(override_settings(SESSION_FILE_PATH=str(self.folder)))
        forget_folder()
        self.addCleanup(forget_folder)
        self.addCleanup(cache.clear)

    def engine(self, name: str) -> Any:
        return override_settings(SESSION_ENGINE=f"django.contrib.sessions.backends.{name}")

    def login(self, backend: str = MODEL_BACKEND) -> Client:
        client = Client()
        client.force_login(self.anna, backend=backend)
        return client

    def cookies_of(self, client: Client) -> str:
        return f"a=b; {settings.SESSION_COOKIE_NAME}={client.cookies[settings.SESSION_COOKIE_NAME].value}; c=d"

    def look_up(self, cookies: str) -> Login | None:
        with read_only():
            return Sessions(
                settings.SESSION_ENGINE, settings.SESSION_COOKIE_NAME, tuple(settings.AUTHENTICATION_BACKENDS)
            ).login_of(cookies)

    def each_engine(self) -> Iterator[str]:
        for name in ENGINES:
            with self.engine(name):
                yield name

    def assert_anna(self, cookies: str, engine: str) -> None:
        login = self.look_up(cookies)
        assert login is not None, engine
        self.assertEqual(login.user.username, "anna", engine)


class LoginTests(SessionsCase):
    def test_logged_in(self) -> None:
        """Each engine: the cookie of a login tells the user and his session."""
        for engine in self.each_engine():
            client = self.login()
            cookies = self.cookies_of(client)
            self.assert_anna(cookies, engine)
            login = self.look_up(cookies)
            assert login is not None
            key = None if engine == "signed_cookies" else client.session.session_key
            self.assertEqual((login.session_key, login.auth_hash), (key, self.anna.get_session_auth_hash()), engine)

    def test_logged_out(self) -> None:
        """Each engine: after the logout the old cookie is nobody's; signed cookies can't know."""
        for engine in self.each_engine():
            client = self.login()
            cookies = self.cookies_of(client)
            client.logout()
            self.assertEqual(self.look_up(cookies) is None, engine != "signed_cookies", engine)

    def test_password_changed(self) -> None:
        """Each engine: a changed password ends all sessions made with the old one."""
        for engine in self.each_engine():
            cookies = self.cookies_of(self.login())
            self.anna.set_password(f"new {engine}")
            self.anna.save()
            self.assertIsNone(self.look_up(cookies), engine)

    def test_deactivated(self) -> None:
        """Each engine: who is no longer active is nobody."""
        for engine in self.each_engine():
            cookies = self.cookies_of(self.login())
            User.objects.update(is_active=False)
            self.assertIsNone(self.look_up(cookies), engine)
            User.objects.update(is_active=True)

    def test_deleted(self) -> None:
        """Each engine: a deleted user is nobody."""
        everybody = {engine: self.cookies_of(self.login()) for engine in self.each_engine()}
        self.anna.delete()
        for engine in self.each_engine():
            self.assertIsNone(self.look_up(everybody[engine]), engine)

    def test_expired(self) -> None:
        """Each engine: a session that is too old is nobody's."""
        for engine in self.each_engine():
            client = self.login()
            cookies = self.cookies_of(client)
            if engine in ("db", "cached_db"):
                cache.clear()
                Session.objects.update(expire_date=timezone.now() - timedelta(seconds=1))
            elif engine == "file":
                (path,) = self.folder.iterdir()
                long_ago = time.time() - settings.SESSION_COOKIE_AGE - 1
                os.utime(path, (long_ago, long_ago))
            later = time.time() + settings.SESSION_COOKIE_AGE + 1
            with patch("time.time", lambda later=later: later):
                self.assertIsNone(self.look_up(cookies), engine)

    def test_key_rotated(self) -> None:
        """Each engine: a session made with an old SECRET_KEY stays valid, and stays as it is."""
        old = settings.SECRET_KEY
        for engine in self.each_engine():
            client = self.login()
            cookies = self.cookies_of(client)
            with override_settings(SECRET_KEY="another key", SECRET_KEY_FALLBACKS=["a third", old]):
                for _ in range(3):
                    self.assert_anna(cookies, engine)
            with override_settings(SECRET_KEY="another key"):
                self.assertIsNone(self.look_up(cookies), engine)
            self.assert_anna(cookies, engine)

    def test_no_hash(self) -> None:
        """A session without a hash of the password is nobody's, as for Django."""
        client = self.login()
        session = client.session
        for wrong in (None, "", "x", 5):
            session["_auth_user_hash"] = wrong
            session.save()
            self.assertIsNone(self.look_up(self.cookies_of(client)))

    def test_anonymous_session(self) -> None:
        """A session in which nobody has logged in is nobody's."""
        client = Client()
        session = client.session
        session["cart"] = 1
        session.save()
        self.assertIsNone(self.look_up(self.cookies_of(client)))

    def test_garbage(self) -> None:
        """Each engine: whatever stands in the cookie, it is nobody's and nothing is raised."""
        name = settings.SESSION_COOKIE_NAME
        values = ["", "x", "a" * 32, "a" * 5000, "../../../etc/passwd", "..%2f..", "\0" * 40, "é" * 32, "a'b\"; DROP"]
        values += [
            "%00" * 20,
            "0" * 32,
            "eyJ:1:abc",
            "gASV:1:abc",
            ".eJw:1:a",
            "\ud800" * 32,
            "a b c d e f g h",
            '"',
            "=;",
        ]
        values += ["A" * 128, "-" * 128, "." * 8, "*" * 32, "\r\nx: y"]
        for engine in self.each_engine():
            for value in values:
                self.assertIsNone(self.look_up(f"{name}={value}"), f"{engine} {value!r}")
            for header in ("", ";", ";;;=;" * 50, "=", name, f"{name}={name}", "\udcff", "a" * 100_000):
                self.assertIsNone(self.look_up(header), f"{engine} {header[:20]!r}")

    def test_damaged_storage(self) -> None:
        """A session whose stored data is damaged is nobody's, and is left as it is."""
        client = self.login()
        Session.objects.update(session_data="damaged")
        self.assertIsNone(self.look_up(self.cookies_of(client)))
        with self.engine("file"):
            client = self.login()
            path = next(self.folder.iterdir())
            for text in (b"damaged", b"", b"\xff\xfe"):
                path.write_bytes(text)
                self.assertIsNone(self.look_up(self.cookies_of(client)))
                self.assertEqual(path.read_bytes(), text)

    def test_custom_backends(self) -> None:
        """The backend that logged the user in decides; one that is no longer configured counts for nothing."""
        openly = f"{__name__}.OpenBackend"
        with override_settings(AUTHENTICATION_BACKENDS=[f"{__name__}.RefusingBackend", openly]):
            cookies = self.cookies_of(self.login(openly))
            self.assert_anna(cookies, "open")
            User.objects.update(is_active=False)
            self.assert_anna(cookies, "open")
        self.assertIsNone(self.look_up(cookies))
        with override_settings(AUTHENTICATION_BACKENDS=[f"{__name__}.RefusingBackend"]):
            self.assertIsNone(self.look_up(self.cookies_of(self.login(f"{__name__}.RefusingBackend"))))


class NothingWrittenTests(SessionsCase):
    def test_files(self) -> None:
        """The file engine: neither a look-up nor an expired session changes the folder."""
        with self.engine("file"):
            cookies = self.cookies_of(self.login())
            (path,) = self.folder.iterdir()
            long_ago = time.time() - settings.SESSION_COOKIE_AGE - 1
            os.utime(path, (long_ago, long_ago))
            before = (path.read_bytes(), path.stat().st_mtime)
            self.assertIsNone(self.look_up(cookies))
            self.assertIsNone(self.look_up(f"{settings.SESSION_COOKIE_NAME}={'a' * 32}"))
            self.assertEqual([(each.read_bytes(), each.stat().st_mtime) for each in self.folder.iterdir()], [before])

    def test_cache(self) -> None:
        """The cached_db engine: a session read from the database is not put into the cache, where it could outlive a
        logout that comes between."""
        with self.engine("cached_db"):
            cookies = self.cookies_of(self.login())
            cache.clear()
            with patch.object(type(cache._connections["default"]), "set", side_effect=AssertionError("wrote")):  # type: ignore[attr-defined]
                self.assert_anna(cookies, "cached_db")

    def test_django_would_write(self) -> None:
        """What this module is there for: Django's own look-up changes the session under the browser's feet."""
        from django.contrib import auth
        from django.http import HttpRequest

        cookies = self.cookies_of(self.login())
        with override_settings(SECRET_KEY="another key", SECRET_KEY_FALLBACKS=[settings.SECRET_KEY]):
            request = HttpRequest()
            request.session = self.store_of(cookies)
            self.assertEqual(auth.get_user(request).pk, self.anna.pk)
            request.session.save()
            self.assertIsNone(self.look_up(cookies))

    def store_of(self, cookies: str) -> Any:
        from importlib import import_module

        return import_module(settings.SESSION_ENGINE).SessionStore(cookies.split("sessionid=")[1].split(";")[0])


class StorageFailureTests(SessionsCase):
    def test_cache_down(self) -> None:
        """A cache that fails is no logout: it is told, so that the client tries again; cached_db asks the database."""
        down = patch.object(type(cache._connections["default"]), "get", side_effect=OSError("down"))  # type: ignore[attr-defined]
        with self.engine("cache"):
            cookies = self.cookies_of(self.login())
            with down:
                self.assertRaises(OSError, self.look_up, cookies)
        with self.engine("cached_db"):
            cookies = self.cookies_of(self.login())
            with down:
                self.assert_anna(cookies, "cached_db")

    def test_folder_gone(self) -> None:
        """A session folder that can't be used is told; one where the file is missing is a logout."""
        with self.engine("file"):
            cookies = self.cookies_of(self.login())
            (path,) = self.folder.iterdir()
            path.unlink()
            path.mkdir()
            self.assertRaises(IsADirectoryError, self.look_up, cookies)
            shutil.rmtree(self.folder)
            self.assertIsNone(self.look_up(cookies))


class RoutingTests(SessionsCase):
    def test_reads_go_there(self) -> None:
        """Within a look-up all reads go to the named database, and nowhere else before and after."""
        with reading_from("other"):
            self.assertEqual(router.db_for_read(User), "other")
            self.assertEqual(User.objects.all().db, "other")
            self.assertEqual(router.db_for_write(User), "default")
        self.assertEqual(router.db_for_read(User), "default")

    def test_default_is_the_site_s_choice(self) -> None:
        """`default` leaves the site's own routers in charge."""

        class Elsewhere:
            def db_for_read(self, model: Any, **hints: Any) -> str:
                return "other"

        before = list(router.routers)
        self.addCleanup(router.routers.__setitem__, slice(None), before)
        router.routers.append(Elsewhere())
        with reading_from("default"):
            self.assertEqual(router.db_for_read(User), "other")
