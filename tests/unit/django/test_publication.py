"""Publishing and transactions."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

from django.contrib.auth.models import Group, User
from django.db import IntegrityError, connection, transaction
from django.db.transaction import TransactionManagementError
from django.test import RequestFactory
from django.utils.functional import SimpleLazyObject

from livepush.broker.errors import BacklogFull
from livepush.django.channels import Audience, Channel, Registry
from livepush.django.errors import RolledBack, TransactionOpen
from livepush.django.outlet import Outlet
from livepush.django.publication import Publication, Publishing
from tests.cases import CommittedCase, DjangoCase
from tests.unit.django.doubles import make_publishing


class Boom(Exception):
    """Raised by another app's hook."""


def boom() -> None:
    raise Boom


class InTransactionTests(CommittedCase):
    """Real commits and rollbacks."""

    def setUp(self) -> None:
        super().setUp()
        publishing, self.recorder = make_publishing()
        self.publish = publishing.publish

    def test_no_transaction(self) -> None:
        """Outside a transaction an event is handed over, and numbered, at once."""
        publication = self.publish("orders", "lock", {"order": 1})
        self.assertEqual(self.recorder.types, ["lock"])
        self.assertEqual(publication.id, "recorder-1")

    def test_commit(self) -> None:
        """In a transaction nothing goes out, and there is no id, before the commit."""
        with transaction.atomic():
            publication = self.publish("orders", "lock", {"order": 1})
            self.assertEqual(self.recorder.types, [])
            self.assertIsNone(publication.id)
        self.assertEqual(self.recorder.types, ["lock"])
        self.assertEqual(publication.id, "recorder-1")

    def test_order(self) -> None:
        """Events of a transaction go out in the order of their calls, once."""
        with transaction.atomic():
            for name in ("a", "b", "c"):
                self.publish("orders", name, {})
        with transaction.atomic():
            pass
        self.assertEqual(self.recorder.types, ["a", "b", "c"])

    def test_nested(self) -> None:
        """An inner block's event waits for the outermost commit."""
        with transaction.atomic():
            with transaction.atomic():
                self.publish("orders", "inner", {})
            self.publish("orders", "outer", {})
            self.assertEqual(self.recorder.types, [])
        self.assertEqual(self.recorder.types, ["inner", "outer"])

    def test_rollback(self) -> None:
        """A rollback publishes nothing, and the result says why."""
        with self.assertRaises(Boom), transaction.atomic():
            publication = self.publish("orders", "lock", {})
            raise Boom
        self.assertEqual(self.recorder.drafts, [])
        error = self.assertRaises(RolledBack, publication.result)
        self.assertIn("rolled back", str(error))

    def test_savepoint_rollback(self) -> None:
        """A rolled back inner block takes its own events along, and no others."""
        with transaction.atomic():
            self.publish("orders", "before", {})
            with self.assertRaises(Boom), transaction.atomic():
                lost = self.publish("orders", "lost", {})
                raise Boom
            self.publish("orders", "after", {})
            self.assertRaises(RolledBack, lost.result)
        self.assertEqual(self.recorder.types, ["before", "after"])

    def test_result_in_open_transaction(self) -> None:
        """Asking for the result before the commit raises at once, instead of waiting for itself."""
        with transaction.atomic():
            publication = self.publish("orders", "lock", {})
            error = self.assertRaises(TransactionOpen, publication.result)
            self.assertIn("after the atomic block", str(error))
        self.recorder.confirm()
        self.assertEqual(publication.result(), "recorder-1")

    def test_broken_transaction(self) -> None:
        """In a transaction that an error has broken, publishing raises at the call and nothing goes out."""
        with self.assertRaises(IntegrityError), transaction.atomic():
            Group.objects.create(pk=1, name="a")
            try:
                with transaction.atomic(savepoint=False):
                    Group.objects.create(pk=1, name="b")
            except IntegrityError:
                self.assertTrue(connection.needs_rollback)
                error = self.assertRaises(TransactionManagementError, self.publish, "orders", "lock", {})
                self.assertIn("broken", str(error))
                raise
        self.assertEqual(self.recorder.drafts, [])

    def test_broken_transaction_before_user(self) -> None:
        """It is the transaction that is told of, not the query for the request's user that would fail in it."""
        request = RequestFactory().get("/")
        request.user = SimpleLazyObject(User.objects.get)  # type: ignore[assignment]
        with transaction.atomic():
            transaction.set_rollback(True)
            error = self.assertRaises(TransactionManagementError, self.publish, "orders", "lock", {}, skip=request)
            self.assertIn("publish after the atomic block", str(error))

    def test_manual_transaction(self) -> None:
        """With autocommit off by hand the commit can't be seen, so publishing refuses."""
        transaction.set_autocommit(False)
        try:
            error = self.assertRaises(TransactionManagementError, self.publish, "orders", "lock", {})
            self.assertIn("autocommit", str(error))
        finally:
            transaction.rollback()
            transaction.set_autocommit(True)

    def test_does_not_connect(self) -> None:
        """Publishing opens no database connection."""
        connection.close()
        self.publish("orders", "lock", {})
        self.assertIsNone(connection.connection)

    # -- another app's hooks -------------------------------------------------------------------------------------------

    def test_foreign_hook_raises_before(self) -> None:
        """Another app's hook that raises first does not lose the event of a transaction that is committed."""
        with self.assertRaises(Boom), transaction.atomic():
            transaction.on_commit(boom)
            self.publish("orders", "lock", {})
        self.assertEqual(self.recorder.types, ["lock"])

    def test_foreign_hook_commits_meanwhile(self) -> None:
        """An event still waits, and is not rolled back, while a hook before it commits a transaction of its own."""

        def foreign() -> None:
            with transaction.atomic():
                self.publish("orders", "inner", {})
            self.assertRaises(TransactionOpen, publication.result)

        with transaction.atomic():
            transaction.on_commit(foreign)
            publication = self.publish("orders", "outer", {})
        self.assertEqual(self.recorder.types, ["inner", "outer"])

    def test_foreign_hook_raises_between(self) -> None:
        """Every event goes out once and in order, wherever a hook raises."""
        with self.assertRaises(Boom), transaction.atomic():
            self.publish("orders", "a", {})
            transaction.on_commit(boom)
            self.publish("orders", "b", {})
            self.publish("orders", "c", {})
        self.assertEqual(self.recorder.types, ["a", "b", "c"])

    def test_foreign_hook_raises_in_later_transaction(self) -> None:
        """The protection holds in each transaction of a connection."""
        for name in ("a", "b"):
            with self.assertRaises(Boom), transaction.atomic():
                transaction.on_commit(boom)
                self.publish("orders", name, {})
        self.assertEqual(self.recorder.types, ["a", "b"])

    def test_hooks_refused_in_transaction(self) -> None:
        """Who runs the hooks in the middle of a transaction is refused by Django, and nothing goes out."""
        with transaction.atomic():
            self.publish("orders", "lock", {})
            self.assertRaises(TransactionManagementError, connection.run_and_clear_commit_hooks)
            self.assertEqual(self.recorder.types, [])
        self.assertEqual(self.recorder.types, ["lock"])

    def test_foreign_hooks_run(self) -> None:
        """Ours keep no other hook from running, in the order of registration, even if the publisher fails."""
        seen: list[str] = []
        self.recorder.refuse_with = BacklogFull("full")
        with transaction.atomic():
            transaction.on_commit(lambda: seen.append("before"))
            self.publish("orders", "lock", {})
            transaction.on_commit(lambda: seen.append("after"))
        self.assertEqual(seen, ["before", "after"])

    def test_result_in_an_earlier_hook(self) -> None:
        """A hook that runs before the event's own is told that the event waits, not that it was rolled back."""
        asked: list[type[BaseException]] = []
        events: list[Publication] = []

        def ask() -> None:
            try:
                events[0].result(0)
            except Exception as error:
                asked.append(type(error))

        with transaction.atomic():
            transaction.on_commit(ask)
            events.append(self.publish("orders", "lock", {}))
        self.assertEqual(asked, [TransactionOpen])
        self.assertEqual(self.recorder.types, ["lock"])

    def test_publisher_raises(self) -> None:
        """Even a publisher that raises costs no other hook, and its other events still go out."""
        seen: list[str] = []
        broken = Publishing(make_registry(), Outlet(Broken))
        with transaction.atomic():
            broken.publish("orders", "lost", {})
            transaction.on_commit(lambda: seen.append("after"))
            self.publish("orders", "kept", {})
        self.assertEqual((seen, self.recorder.types), (["after"], ["kept"]))

    def test_publishing_in_a_hook(self) -> None:
        """An event published by a commit hook goes out, also in a transaction of the hook's own."""

        def hook() -> None:
            self.publish("orders", "plain", {})
            with transaction.atomic():
                self.publish("orders", "own", {})

        with transaction.atomic():
            self.publish("orders", "first", {})
            transaction.on_commit(hook)
            self.publish("orders", "last", {})
        self.assertEqual(self.recorder.types, ["first", "plain", "own", "last"])

    # -- several databases ---------------------------------------------------------------------------------------------

    def test_default_first(self) -> None:
        """Two transactions: it waits for the one on default."""
        with transaction.atomic(using="other"):
            with transaction.atomic():
                self.publish("orders", "lock", {})
            self.assertEqual(self.recorder.types, ["lock"])

    def test_single_other(self) -> None:
        """The only transaction is on another database: it waits for that."""
        with transaction.atomic(using="other"):
            self.publish("orders", "lock", {})
            self.assertEqual(self.recorder.types, [])
        self.assertEqual(self.recorder.types, ["lock"])

    def test_several_others(self) -> None:
        """Several other transactions: the caller must say which."""
        self.use_database("third", NAME=":memory:")
        with transaction.atomic(using="other"), transaction.atomic(using="third"):
            error = self.assertRaises(ValueError, self.publish, "orders", "lock", {})
            self.assertIn("other, third", str(error))
            self.publish("orders", "lock", {}, using="other")
        self.assertEqual(self.recorder.types, ["lock"])

    def test_using(self) -> None:
        """A named database decides, whatever else is open."""
        with transaction.atomic():
            self.publish("orders", "now", {}, using="other")
            self.assertEqual(self.recorder.types, ["now"])
            with transaction.atomic(using="other"):
                self.publish("orders", "later", {}, using="other")
                self.assertEqual(self.recorder.types, ["now"])
            self.assertEqual(self.recorder.types, ["now", "later"])

    def test_unknown_database(self) -> None:
        """An unknown alias is told with the known ones."""
        error = self.assertRaises(ValueError, self.publish, "orders", "lock", {}, using="nope")
        self.assertIn("'nope'", str(error))
        self.assertIn("other", str(error))

    def test_other_thread_unaffected(self) -> None:
        """A broken transaction on another database is no matter of this publication."""
        with transaction.atomic(using="other"):
            transaction.set_rollback(True, using="other")
            with transaction.atomic():
                self.publish("orders", "lock", {})
        self.assertEqual(self.recorder.types, ["lock"])

    # -- async ---------------------------------------------------------------------------------------------------------

    def test_async(self) -> None:
        """In a coroutine it publishes at once, and asks the database nothing."""

        async def view() -> Publication:
            request = RequestFactory().get("/", headers={"X-Livepush-Tab": "k3f9"})
            request.user = SimpleLazyObject(User.objects.get)  # type: ignore[assignment]
            return self.publish("orders", "lock", {"order": 1}, skip=request)

        self.assertEqual(asyncio.run(view()).id, "recorder-1")
        self.assertEqual(self.recorder.bodies[0]["skip"], {"user": None, "tab": "k3f9"})

    def test_async_user_not_loaded(self) -> None:
        """Where only a query could tell the user, a coroutine is told what to do instead."""

        async def view() -> None:
            request = RequestFactory().get("/")
            request.user = SimpleLazyObject(User.objects.get)  # type: ignore[assignment]
            self.publish("orders", "lock", {}, skip=request)

        error = self.assertRaises(ValueError, asyncio.run, view())
        self.assertIn("auser()", str(error))


class Broken:
    """A publisher with a fault."""

    trouble = None

    def flush(self, timeout: float, /) -> int:
        return 0

    def publish(self, draft: object, /) -> Any:
        raise RuntimeError("no")

    def close(self, timeout: float, /) -> int:
        return 0


def make_registry() -> Registry:
    registry = Registry()

    class Orders(Channel, registry=registry):
        name = "orders"
        audiences = [Audience("client")]

    return registry


class TestCaseTests(DjangoCase):
    """A site's own tests, in a transaction that never commits."""

    def test_captured_hooks(self) -> None:
        """What captures the commit hooks of a block finds ours among them, and runs no older one again."""
        publishing, recorder = make_publishing()
        seen: list[str] = []
        transaction.on_commit(lambda: seen.append("older"))
        publishing.publish("orders", "older", {})
        with self.committing() as hooks:
            transaction.on_commit(lambda: seen.append("mine"))
            publishing.publish("orders", "mine", {})
        self.assertEqual((len(hooks), seen, recorder.types), (2, ["mine"], ["mine"]))

    def test_no_queries(self) -> None:
        """With a user at hand, publishing asks the database nothing."""
        publishing, _ = make_publishing()
        user = User.objects.create(username="anna")

        def refuse(*args: Any) -> None:
            raise AssertionError("a query")

        with connection.execute_wrapper(refuse):
            publishing.publish("orders", "lock", {"at": datetime.now(UTC)}, skip=user, only=["client", user])
