"""The outbox and its relays, on every database: each interleaving that the specification names, one step at a time."""

from __future__ import annotations

import threading
from typing import Any

from django.core.management import call_command
from django.db import connection, transaction

from livepush.broker.envelope import Kind
from livepush.broker.errors import Refused
from livepush.broker.lease import LEASE_SECONDS
from livepush.broker.relay import Row
from livepush.django.errors import ForeignIdentity, OutboxMissing, RolledBack, TransactionOpen
from livepush.django.management.relay import new_identity
from livepush.django.models import OutboxLease, OutboxMessage
from livepush.django.outbox import Outbox
from livepush.django.publication import Publication
from livepush.django.signals import publication_failed
from tests.integration.outbox.case import OutboxCase, PostgreSQL, SQLite


class PublishContract(OutboxCase):
    """What `durable=True` does where it is called."""

    def test_commit(self) -> None:
        """The row is there with the transaction, and the relay is woken by the commit, not before."""
        with transaction.atomic():
            self.publish("a")
            self.publish("b")
            self.assertEqual(self.recorder.drafts, [])
        self.assertEqual(self.rows(), [(None, "a"), (None, "b")])
        self.assertEqual(
            {(draft.kind, draft.key) for draft in self.recorder.drafts}, {(Kind.CONTROL, "control.outbox")}
        )

    def test_rollback(self) -> None:
        """Nothing of a transaction or savepoint that is rolled back is published, and nobody is woken."""
        with transaction.atomic():
            self.publish("a")
            try:
                with transaction.atomic():
                    self.publish("b")
                    raise KeyError
            except KeyError:
                pass
        self.assertEqual(self.rows(), [(None, "a")])
        self.assertEqual(len(self.recorder.drafts), 1)

    def test_no_transaction(self) -> None:
        """Outside of a transaction the row is committed at once."""
        self.publish("a")
        self.assertEqual((self.rows(), len(self.recorder.drafts)), ([(None, "a")], 1))

    def test_result(self) -> None:
        """It waits for the row's end, says so inside the transaction, and knows a rollback."""
        with transaction.atomic():
            publication = self.publish("a")
            self.assertRaises(TransactionOpen, publication.result, 0)
        self.assertRaises(TimeoutError, publication.result, 0)
        self.member().work()
        self.assertEqual((publication.result(0), publication.id), (None, None))
        try:
            with transaction.atomic():
                publication = self.publish("b")
                raise KeyError
        except KeyError:
            pass
        self.assertRaises(RolledBack, publication.result, 0)

    def test_no_tables(self) -> None:
        """Without the tables, who publishes and who relays is told to migrate."""
        call_command("migrate", "livepush", "zero", verbosity=0, interactive=False)
        for act in (lambda: self.publish("a"), self.member().turn):
            error = self.assertRaises(OutboxMissing, act)
            self.assertIn("`manage.py migrate livepush`", str(error))
        with self.assertRaises(OutboxMissing), transaction.atomic():
            self.publish("a")
        call_command("migrate", "livepush", verbosity=0, interactive=False)
        self.publish("a")
        self.member().work()
        self.assertEqual(self.logged(), [(1, "a")])


class RelayContract(OutboxCase):
    """What a relay does with the rows, alone and beside others."""

    def test_drained(self) -> None:
        """Rows get numbers in their order, are sent, confirmed and deleted; the next go on behind them."""
        relay = self.member()
        for text in "abc":
            self.publish(text)
        relay.work()
        self.publish("d")
        relay.work()
        self.assertEqual((self.logged(), self.rows()), ([(1, "a"), (2, "b"), (3, "c"), (4, "d")], []))
        self.assertEqual(self.log[-1].stamp and self.log[-1].stamp.low, 4)

    def test_many(self) -> None:
        """More rows than are numbered, read or held at once go out in order, each once."""
        for number in range(1500):
            OutboxMessage(key=f"event.orders.n{number}", channel="orders", body=b"{}").save()
        self.member().work(40)
        self.assertEqual(self.logged(), [(number + 1, f"n{number}") for number in range(1500)])
        self.assertEqual((len(self.log), self.rows()), (1500, []))

    def test_low_key_commits_last(self) -> None:
        """A row whose key is lower than those that are sent already is not passed over."""
        relay = self.member()
        OutboxMessage(pk=7, key="event.orders.b", channel="orders", body=b"{}").save(force_insert=True)
        relay.work()
        OutboxMessage(pk=5, key="event.orders.a", channel="orders", body=b"{}").save(force_insert=True)
        relay.work()
        self.assertEqual((self.logged(), self.rows()), ([(1, "b"), (2, "a")], []))

    def test_crash_between_number_and_send(self) -> None:
        """A successor sends what was numbered, under the same numbers, before what it numbers itself."""
        first, second = self.member("one"), self.member("two")
        self.publish("a")
        self.publish("b")
        first.turn()
        self.publish("c")
        second.turn()
        self.assertFalse(second.relaying.holds)
        second.now += LEASE_SECONDS
        second.work()
        self.assertEqual((self.logged(), self.rows()), ([(1, "a"), (2, "b"), (3, "c")], []))

    def test_crash_between_confirm_and_delete(self) -> None:
        """What was confirmed and not deleted is in the log twice, under one number and two copies' identities."""
        first, second = self.member("one"), self.member("two")
        self.publish("a")
        first.turn()
        first.send()
        first.answer()
        second.turn()
        second.now += LEASE_SECONDS
        second.work()
        self.assertEqual(([copy.key for copy in self.log], self.rows()), (["event.orders.a"] * 2, []))
        self.assertEqual(self.logged(), [(1, "a")])
        self.assertEqual(len({copy.stamp for copy in self.log}), 2)

    def test_stopped_past_its_lease(self) -> None:
        """One that wakes up behind its successor sends the numbers it has, which are the same, and gives none."""
        first, second = self.member("one"), self.member("two")
        for text in "ab":
            self.publish(text)
        first.turn()
        second.turn()
        second.now += LEASE_SECONDS
        second.turn()
        self.assertTrue(second.relaying.holds)
        self.publish("c")
        first.send()
        first.answer()
        first.turn()
        self.assertFalse(first.relaying.holds)
        second.work()
        first.work()
        self.assertEqual((self.logged(), self.rows()), ([(1, "a"), (2, "b"), (3, "c")], []))
        self.assertFalse(first.relaying.holds)

    def test_two_at_once(self) -> None:
        """Of two that take the lease at the same moment one has it."""
        seen = self.outbox.lease()
        self.assertEqual([bool(self.outbox.take(seen, name)) for name in ("one", "two")], [True, False])

    def test_stands_by(self) -> None:
        """A second relay by mistake numbers nothing while the first one's lease beats, however long."""
        first, second = self.member("one"), self.member("two")
        first.turn()
        for _ in range(10):
            first.turn()
            second.now += LEASE_SECONDS / 2
            second.turn()
        self.assertFalse(second.relaying.holds)
        self.assertEqual(
            [line for line in self.lines if "one relays the outbox in 'default'; standing by" in line], self.lines[1:2]
        )

    def test_database_restart(self) -> None:
        """The database goes between confirm and delete and comes back: nothing is sent twice, and one line tells it."""
        relay = self.member()
        self.publish("a")
        relay.turn()
        relay.send()
        relay.answer()
        self.lines.clear()
        self.break_database()
        for _ in range(3):
            self.assertFalse(relay.turn())
        self.mend_database()
        relay.work()
        self.publish("b")
        relay.work()
        self.assertEqual((self.logged(), len(self.log), self.rows()), ([(1, "a"), (2, "b")], 2, []))
        self.assertEqual([line.split()[0] for line in self.lines], ["WARNING", "INFO"])
        self.assertIn("the database 'default' fails: ", self.lines[0])
        self.assertTrue(relay.relaying.holds)

    def test_no_database_at_start(self) -> None:
        """A relay that starts before its database waits for it."""
        relay = self.member()
        self.publish("a")
        self.outbox.lease()
        self.break_database()
        relay.turn()
        self.mend_database()
        relay.work()
        self.assertEqual(self.logged(), [(1, "a")])

    def test_refused(self) -> None:
        """What the broker refuses for good is told, its number goes out empty, its row stays; the others flow."""
        told: list[tuple[str, str]] = []

        def receiver(publication: Any, error: Exception, **_: Any) -> None:
            told.append((str(publication), f"{type(error).__name__} {error}"))

        publication_failed.connect(receiver, sender=Publication, weak=False)
        self.addCleanup(publication_failed.disconnect, receiver, sender=Publication)
        relay = self.member()
        relay.refuses.add("event.orders.bad")
        publications = [self.publish(text) for text in ("good", "bad", "later")]
        relay.work(10)
        self.assertEqual(self.logged(), [(1, "good"), (2, "void"), (3, "later")])
        self.assertEqual(self.rows(), [(None, "bad")])
        self.assertEqual([text for _, text in told], ["Refused 403 no"])
        self.assertRegex(told[0][0], r"orders bad outbox-\w+-2")
        self.assertTrue(any(line.startswith("ERROR") and "orders bad" in line for line in self.lines))
        self.assertRaises(Refused, publications[1].result, 0)

    def test_refused_and_crashed(self) -> None:
        """A successor sends the marked row as a void, too."""
        first, second = self.member("one"), self.member("two")
        first.refuses.add("event.orders.bad")
        self.publish("bad")
        first.turn()
        first.send()
        first.answer()
        first.turn()
        self.assertEqual((self.rows(), self.log), ([(1, "bad")], []))
        second.turn()
        second.now += LEASE_SECONDS
        second.work()
        self.assertEqual((self.logged(), self.rows()), ([(1, "void")], [(None, "bad")]))

    def test_no_log(self) -> None:
        """While no queue takes anything the rows wait, which is told as an error; afterwards all arrive in order."""
        relay = self.member()
        relay.returns = True
        for text in "abc":
            self.publish(text)
        for _ in range(3):
            relay.work()
            relay.now += 1
        self.assertEqual((self.log, len(self.rows())), ([], 3))
        self.assertEqual(sum("`manage.py livepush topology`" in line for line in self.lines), 1)
        relay.returns = False
        relay.work()
        self.assertEqual((self.logged(), self.rows()), ([(1, "a"), (2, "b"), (3, "c")], []))


class IdentityContract(OutboxCase):
    """The outbox's id as a publisher."""

    def test_permanent(self) -> None:
        """All relays of a database publish under one id."""
        ids = []
        for name in ("one", "two"):
            relay = self.member(name)
            relay.now += LEASE_SECONDS
            self.publish("a")
            relay.turn()
            relay.now += LEASE_SECONDS
            relay.work()
            ids.append(self.log[-1].stamp and self.log[-1].stamp.publisher)
        self.assertEqual(len(set(ids)), 1)

    def test_foreign(self) -> None:
        """A copy of another database is refused, with the remedy, which helps."""
        self.outbox.lease()
        OutboxLease.objects.update(database="the original", publisher="outbox-original", next=40)
        self.publish("a")
        error = self.assertRaises(ForeignIdentity, self.member().turn)
        self.assertIn("'the original'", str(error))
        self.assertIn("--new-identity", str(error))
        publisher = new_identity(self.outbox)
        self.member().work()
        self.assertEqual(self.logged(), [(1, "a")])
        self.assertEqual({copy.stamp and copy.stamp.publisher for copy in self.log}, {publisher})
        self.assertNotEqual(publisher, "outbox-original")

    def test_restored(self) -> None:
        """After a restore all rows go out under the new id from 1, those that had an old number first."""
        first = self.member()
        for text in "ab":
            self.publish(text)
        first.turn()
        self.publish("c")
        self.outbox.give_back(1)  # as the copy of a database without a relay has it
        new_identity(self.outbox)
        second = self.member()
        second.work()
        self.assertEqual((self.logged(), self.rows()), ([(1, "a"), (2, "b"), (3, "c")], []))

    def test_failover(self) -> None:
        """A database that forgets its last transactions under a living relay: no number is used for two events."""
        relay = self.member()
        for text in "ab":
            self.publish(text)
        relay.work()
        before = self.log[-1].stamp and self.log[-1].stamp.publisher
        OutboxLease.objects.update(next=2)
        self.publish("c")
        relay.work()
        stamps = [copy.stamp for copy in self.log if copy.stamp]
        self.assertEqual(
            [(stamp.publisher == before, stamp.number) for stamp in stamps], [(True, 1), (True, 2), (False, 1)]
        )
        self.assertEqual(self.rows(), [])
        self.assertEqual(sum("went back from number 3 to 2" in line for line in self.lines), 1)

    def test_late_relay_of_the_old_identity(self) -> None:
        """A confirm of the old identity deletes no row that has the same number under the new one."""
        first = self.member()
        self.publish("a")
        first.turn()
        first.send()
        seen = self.outbox.lease()
        self.assertTrue(self.outbox.new_identity(seen))
        second = self.member()
        second.turn()
        self.assertEqual(self.rows(), [(1, "a")])
        self.outbox.delete(seen.publisher, [1])
        self.outbox.mark_failed(seen.publisher, 1, "late")
        self.assertEqual(OutboxMessage.objects.filter(number=1, failed="").count(), 1)
        first.answer()
        first.turn()
        self.assertFalse(first.relaying.holds)
        second.work()
        self.assertEqual(self.rows(), [])

    def test_changed_meanwhile(self) -> None:
        """The new identity is given to the lease that was seen, and to no other."""
        seen = self.outbox.lease()
        self.member().turn()
        self.assertIsNone(self.outbox.new_identity(seen))


class SQLitePublishTests(SQLite, PublishContract):
    pass


class SQLiteRelayTests(SQLite, RelayContract):
    pass


class SQLiteIdentityTests(SQLite, IdentityContract):
    pass


class PostgreSQLPublishTests(PostgreSQL, PublishContract):
    pass


class PostgreSQLRelayTests(PostgreSQL, RelayContract):
    def test_low_key_in_an_open_transaction(self) -> None:
        """The same with two real transactions: the row with the lower key is invisible while others are relayed."""
        relay = self.member()
        written, relayed = threading.Event(), threading.Event()

        def slow() -> None:
            with transaction.atomic():
                self.publish("slow")
                written.set()
                relayed.wait(20)
            connection.close()

        thread = threading.Thread(target=slow)
        thread.start()
        self.assertTrue(written.wait(20))
        self.publish("quick")
        relay.work()
        self.assertEqual(self.logged(), [(1, "quick")])
        relayed.set()
        thread.join(20)
        relay.work()
        self.assertEqual((self.logged(), self.rows()), ([(1, "quick"), (2, "slow")], []))

    def test_database_gone_between_two_statements(self) -> None:
        """A connection that breaks outside of a transaction is made anew, too, when the database is back."""
        case = self

        class Breaking(Outbox):
            broken = False

            def load(self, after: int, limit: int) -> list[Row]:
                if not self.broken:
                    self.broken = True
                    case.break_database()
                return super().load(after, limit)

        self.outbox = Breaking("default")
        relay = self.member()
        self.publish("a")
        relay.turn()
        self.assertTrue(any("fails: " in line for line in self.lines))
        self.mend_database()
        relay.work()
        self.assertEqual((self.logged(), self.rows()), ([(1, "a")], []))

    def test_numbering_waits_for_a_rival(self) -> None:
        """A transaction that numbers, stopped in the middle, is overtaken by nobody: the rival waits for the row."""
        first = self.member("one")
        first.turn()
        self.publish("a")
        seen = self.outbox.lease()
        results: list[Any] = []

        def rival() -> None:
            results.append(Outbox("default").take(seen, "two"))
            connection.close()

        thread = threading.Thread(target=rival)
        with transaction.atomic():
            self.assertEqual(self.outbox.number(seen.generation, 10), (1, 2))
            thread.start()
            thread.join(0.3)
            self.assertTrue(thread.is_alive())
        thread.join(20)
        self.assertEqual(results, [None])


class PostgreSQLIdentityTests(PostgreSQL, IdentityContract):
    pass


del PublishContract, RelayContract, IdentityContract
