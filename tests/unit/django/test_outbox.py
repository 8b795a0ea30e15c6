"""The outbox's tables and identity. What relays do with them is in tests/integration/outbox."""

from __future__ import annotations

from io import StringIO

from django.core import checks
from django.core.management import call_command
from django.db import Error, OperationalError, ProgrammingError
from twisted.trial.unittest import SynchronousTestCase

from livepush.broker.envelope import BODY_BYTES
from livepush.broker.names import CHANNEL_BYTES, event_key
from livepush.django.checks import check_outbox
from livepush.django.models import OutboxLease, OutboxMessage
from livepush.django.outbox import Outbox, _is_missing_table
from tests.cases import DjangoCase
from tests.unit.django.doubles import make_publishing


class TableTests(DjangoCase):
    def test_migrations(self) -> None:
        """The migrations make what the models say."""
        call_command("makemigrations", "livepush", check=True, dry_run=True, stdout=StringIO())

    def test_room(self) -> None:
        """The longest names and the largest body fit."""
        channel = "c" * CHANNEL_BYTES
        row = OutboxMessage(key=event_key(channel, "t" * 60), channel=channel, body=b"x" * BODY_BYTES)
        row.full_clean(exclude=["number"])
        row.save()
        row.refresh_from_db()
        self.assertEqual(len(row.body), BODY_BYTES)

    def test_missing_table(self) -> None:
        """Each database's way to say that a table is missing is understood, and nothing else is taken for it."""

        def error(kind: type[Error], *arguments: object, **attributes: str) -> Error:
            cause = Exception(*arguments)
            cause.__dict__.update(attributes)
            failure = kind(*arguments)
            failure.__cause__ = cause
            return failure

        for missing in (
            error(OperationalError, "no such table: livepush_outboxmessage"),
            error(ProgrammingError, "relation", sqlstate="42P01"),
            error(ProgrammingError, "relation", pgcode="42P01"),
            error(ProgrammingError, 1146, "Table doesn't exist"),
        ):
            self.assertTrue(_is_missing_table(missing), missing)
        for other in (error(OperationalError, "database is locked"), error(OperationalError, "", sqlstate="57P01")):
            self.assertFalse(_is_missing_table(other), other)


class IdentityTests(DjangoCase):
    def test_made_once(self) -> None:
        """The first look makes the identity, with the database's name; it never changes by itself."""
        first = Outbox("default").lease()
        self.assertEqual((first, first.next, first.holder), (Outbox("default").lease(), 1, ""))
        self.assertEqual(first.database, Outbox("default").database)
        self.assertRegex(first.publisher, r"\Aoutbox-[a-f0-9]{12}\Z")

    def test_checked(self) -> None:
        """A check of the database finds a copy, and nothing where there is no identity, or no other name."""
        self.assertEqual(check_outbox(databases=["default", "other"]), [])
        Outbox("default").lease()
        self.assertEqual(check_outbox(databases=["default"]), [])
        OutboxLease.objects.update(database="the original")
        (found,) = check_outbox(databases=["default", "other"])
        self.assertEqual((found.id, found.level), ("livepush.W004", checks.WARNING))
        self.assertFalse(found.is_serious(), "migrate goes on")
        self.assertIn("'the original'", found.msg)
        self.assertIn("--new-identity", str(found.hint))
        self.assertNotIn("the original", str(found.hint))
        self.assertIn(found, checks.run_checks(databases=["default"]))
        self.assertEqual(check_outbox(), [])

    def test_lost(self) -> None:
        """When somebody has deleted the lease, nothing that had a number keeps it under the new identity."""
        before = Outbox("default").lease()
        OutboxMessage.objects.create(key="event.orders.a", channel="orders", body=b"{}", number=7)
        OutboxLease.objects.all().delete()
        self.assertNotEqual(Outbox("default").lease().publisher, before.publisher)
        self.assertIsNone(OutboxMessage.objects.get().number)

    def test_databases(self) -> None:
        """Each database has an outbox of its own."""
        self.assertNotEqual(Outbox("default").lease().publisher, Outbox("other").lease().publisher)


class DurableTests(DjangoCase):
    def test_other_database(self) -> None:
        """The row is written in the transaction that the publication belongs to."""
        publishing, _ = make_publishing()
        publishing.publish("orders", "a", {}, durable=True, using="other")
        counts = [OutboxMessage.objects.using(alias).count() for alias in ("default", "other")]
        self.assertEqual(counts, [0, 1])

    def test_live(self) -> None:
        """An event is either durable or live."""
        publishing, _ = make_publishing()
        self.assertRaises(ValueError, publishing.publish, "orders", "a", {}, durable=True, live=True)
        self.assertEqual(OutboxMessage.objects.count(), 0)

    def test_refused_at_the_call(self) -> None:
        """What can't be published leaves no row."""
        publishing, _ = make_publishing()
        self.assertRaises(ValueError, publishing.publish, "nowhere", "a", {}, durable=True)
        self.assertRaises(ValueError, publishing.publish, "orders", "a", {"x": object()}, durable=True)
        self.assertEqual(OutboxMessage.objects.count(), 0)


class ImportTests(SynchronousTestCase):
    def test_names(self) -> None:
        """The tables have the app's name."""
        tables = [model._meta.db_table for model in (OutboxMessage, OutboxLease)]
        self.assertEqual(tables, ["livepush_outboxmessage", "livepush_outboxlease"])
