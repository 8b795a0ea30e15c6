"""Looking users up in threads of their own: bounds, failures, the end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.db import OperationalError
from django.test import override_settings
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import Clock

from livepush.daemon.entitlement import Snapshot
from livepush.daemon.errors import Busy, IdentityUnavailable
from livepush.daemon.identifier import Identifier
from livepush.daemon.pool import LEAVE_SECONDS
from livepush.daemon.reader import Reader, directory_of
from tests.cases import CommittedCase
from tests.unit.daemon import site_doubles
from tests.unit.daemon.site_doubles import (
    grant,
    login,
    make_registry,
    make_settings,
)


class IdentifierTests(CommittedCase):
    """The same from the reactor."""

    def setUp(self) -> None:
        super().setUp()
        from twisted.internet import reactor

        self.reactor: Any = reactor
        self.registry = make_registry()
        self.anna = User.objects.create_user("anna", password="pw")
        self.cookies = login(self.anna)

    def start(self, **changes: Any) -> Identifier:
        identifier = Identifier(Reader(make_settings(**changes), self.registry), self.reactor)
        identifier.start()
        self.addCleanup(identifier.stop)
        return identifier

    def identify(self, identifier: Identifier, cookies: str) -> Deferred[Snapshot | None]:
        return Deferred.fromCoroutine(identifier.identify(cookies))

    async def test_identify(self) -> None:
        """The user of the cookies, or nobody."""
        identifier = self.start()
        found = await identifier.identify(self.cookies)
        assert found is not None
        self.assertEqual(found.user, str(self.anna.pk))
        self.assertIsNone(await identifier.identify(""))

    async def test_allows(self) -> None:
        """The rule is asked in the threads too."""
        identifier = self.start()
        found = await identifier.identify(self.cookies)
        assert found is not None
        rule = directory_of(self.registry).rule_for("rooms.mine")
        assert rule is not None
        self.assertTrue(await identifier.allows(found, rule, "rooms.mine"))
        self.assertFalse(await identifier.allows(found, rule, "rooms.other"))

    async def test_never_on_the_reactor(self) -> None:
        """No query runs in the reactor's thread, and no more threads than allowed have connections."""
        threads: set[int] = set()
        here = threading.get_ident()
        self.see_queries(lambda sql: threads.add(threading.get_ident()))
        identifier = self.start(threads=2)
        await gatherResults([self.identify(identifier, self.cookies) for _ in range(20)])
        self.assertNotIn(here, threads)
        self.assertTrue(1 <= len(threads) <= 2, threads)

    async def test_never_writes(self) -> None:
        """Only SELECT reaches the database, whatever the session."""
        seen: list[str] = []
        self.see_queries(seen.append)
        identifier = self.start(anonymous=True)
        old = settings.SECRET_KEY
        with override_settings(SECRET_KEY="another", SECRET_KEY_FALLBACKS=[old]):
            for cookies in (self.cookies, "", f"{settings.SESSION_COOKIE_NAME}={'a' * 32}"):
                await identifier.identify(cookies)
        self.assertTrue(seen)
        self.assertEqual([sql for sql in seen if not sql.startswith("SELECT")], [])

    async def test_select_only_account(self) -> None:
        """An account that may read only is enough, with no other account at hand."""
        self.use_database("reading", NAME=f"file:{self.database}?mode=ro")
        refused = self.assertRaises(OperationalError, User.objects.using("reading").update, is_active=False)
        self.assertIn("readonly", str(refused))
        grant(self.anna, "add_group")
        identifier = self.start(database="reading")
        aliases: set[str] = set()
        self.see_queries(lambda sql: None, aliases)
        found = await identifier.identify(self.cookies)
        assert found is not None
        self.assertEqual(found.permissions, frozenset({"auth.add_group"}))
        self.assertEqual(aliases, {"reading"})
        rule = directory_of(self.registry).rule_for("rooms.mine")
        assert rule is not None
        self.assertTrue(await identifier.allows(found, rule, "rooms.mine"))

    async def test_busy(self) -> None:
        """More who wait than the queue holds are refused at once, and the refused ones cost nothing."""
        gate, _ = self.hold_queries()
        identifier = self.start(threads=1, queue=2)
        waiting = [self.identify(identifier, self.cookies) for _ in range(2)]
        self.assertTrue(identifier.is_full)
        refused = self.identify(identifier, self.cookies)
        self.failureResultOf(refused, Busy)
        gate.set()
        self.assertEqual([found is not None for found in await gatherResults(waiting)], [True] * 2)
        self.assertIsNotNone(await identifier.identify(self.cookies))

    async def test_rules_do_not_wait_for_logins(self) -> None:
        """A rule is asked while all look-ups of logins hang: neither takes the other's threads."""
        identifier = self.start(threads=2)
        self.hold_sessions()
        self.gate.set()
        found = await identifier.identify(self.cookies)
        assert found is not None
        self.gate.clear()
        stuck = self.identify(identifier, self.cookies)
        rule = directory_of(self.registry).rule_for("rooms.mine")
        assert rule is not None
        self.assertTrue(await identifier.allows(found, rule, "rooms.mine"))
        self.assertNoResult(stuck)
        self.gate.set()
        self.assertIsNotNone(await stuck)

    async def test_not_started(self) -> None:
        """Before the start and after the end nobody is looked up."""
        identifier = Identifier(Reader(make_settings(), self.registry), self.reactor)
        self.failureResultOf(self.identify(identifier, self.cookies), Busy)
        identifier.start()
        await identifier.stop()
        self.failureResultOf(self.identify(identifier, self.cookies), Busy)

    async def test_database_away_and_back(self) -> None:
        """A database that fails is told as such, logged once, and used again when it is back."""
        identifier = self.start()
        hidden = self.database.with_suffix(".away")
        self.database.rename(hidden)
        self.database.mkdir()
        for _ in range(3):
            error: Any = await self.assertFailure(self.identify(identifier, self.cookies), IdentityUnavailable)
            self.assertEqual(error.cause, "OperationalError")
        self.assertEqual(len(self.flushLoggedErrors(OperationalError)), 1)
        self.database.rmdir()
        hidden.rename(self.database)
        self.assertIsNotNone(await identifier.identify(self.cookies))

    async def test_backend_raises(self) -> None:
        """A site's backend with a fault is told likewise, and the log has no cookie."""
        backend = f"{site_doubles.__name__}.FailingBackend"
        with override_settings(AUTHENTICATION_BACKENDS=[backend]):
            identifier = self.start()
            cookies = login(self.anna, backend)
            await self.assertFailure(self.identify(identifier, cookies), IdentityUnavailable)
        (failure,) = self.flushLoggedErrors(RuntimeError)
        self.assertNotIn(cookies.split("=")[1], failure.getTraceback())

    async def test_stop_with_a_stuck_thread(self) -> None:
        """The end does not wait for a database that doesn't answer; what was queued is refused."""
        gate, reached = self.hold_queries()
        clock = Clock()
        clock.callFromThread = self.reactor.callFromThread  # type: ignore[attr-defined]
        identifier = Identifier(Reader(make_settings(threads=1), self.registry), clock)
        identifier.start()
        stuck = self.identify(identifier, self.cookies)
        clock.advance(0)
        queued = self.identify(identifier, self.cookies)
        await reached
        stopped = identifier.stop()
        self.assertNoResult(stopped)
        clock.advance(LEAVE_SECONDS)
        self.successResultOf(stopped)
        gate.set()
        self.assertIsNotNone(await stuck)
        clock.advance(0)
        self.failureResultOf(queued, Busy)

    def see_queries(self, seen: Callable[[str], object], aliases: set[str] | None = None) -> None:
        """Shows all SQL of the threads that connect from now on."""
        from django.db.backends.signals import connection_created

        def created(connection: Any, **_: Any) -> None:
            def show(execute: Callable[..., Any], sql: str, *args: Any) -> Any:
                seen(sql)
                if aliases is not None:
                    aliases.add(connection.alias)
                return execute(sql, *args)

            if show not in connection.execute_wrappers and threading.current_thread() is not threading.main_thread():
                connection.execute_wrappers[:] = [show]

        connection_created.connect(created, weak=False)
        self.addCleanup(connection_created.disconnect, created)

    def hold_sessions(self) -> None:
        """Lets what asks for sessions wait until `gate` is set, in whichever thread."""
        self.gate = threading.Event()
        self.addCleanup(self.gate.set)
        self.see_queries(lambda sql: "django_session" in sql and self.gate.wait(30))

    def hold_queries(self) -> tuple[threading.Event, Deferred[None]]:
        """Lets the threads' queries wait until the event is set; the Deferred fires when the first one does."""
        gate, reached = threading.Event(), Deferred[None]()
        self.addCleanup(gate.set)

        def tell() -> None:
            if not reached.called:
                reached.callback(None)

        def hold(sql: str) -> None:
            self.reactor.callFromThread(tell)
            gate.wait(30)

        self.see_queries(hold)
        return gate, reached
