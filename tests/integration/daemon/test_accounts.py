"""Who visitors are, read from a real PostgreSQL by an account that may only read, and never in the reactor's thread."""

from __future__ import annotations

import threading
from typing import Any

import psycopg
from django.contrib.auth.models import Group, Permission, User
from django.core.management import call_command
from django.db import ProgrammingError, connections
from twisted.internet.defer import Deferred, gatherResults

from livepush.daemon.identifier import Identifier
from livepush.daemon.reader import Reader, directory_of
from livepush.daemon.redemption import Redemption
from livepush.django.channels import Registry
from livepush.django.tickets import read_ticket, ticket
from tests.cases import CommittedCase
from tests.servers.postgresql import shared_postgresql
from tests.unit.daemon.site_doubles import login, make_registry, make_settings

VISITORS = 600
"""More than one batch holds."""

READ = ("django_session", "auth_user", "auth_permission", "django_content_type", "auth_group")
LINKS = ("auth_user_groups", "auth_user_user_permissions", "auth_group_permissions")


class SelectOnlyCase(CommittedCase):
    """A site on PostgreSQL, and a daemon's account that may SELECT from what it needs and nothing else."""

    registry: Registry

    def setUp(self) -> None:
        super().setUp()
        from twisted.internet import reactor

        self.reactor: Any = reactor
        server = shared_postgresql()
        name = server.fresh_database()
        self.addCleanup(server.drop, name)
        site = server.settings(name)
        self.use_database("default", **site)
        call_command("migrate", verbosity=0, interactive=False)
        with connections["default"].cursor() as cursor:
            role = f"reader_{name}"
            cursor.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'only-reads'")
            cursor.execute(f"GRANT SELECT ON {', '.join(READ + LINKS)} TO {role}")
        self.addCleanup(self.drop_role, site, role)
        self.use_database("reading", **{**site, "USER": role, "PASSWORD": "only-reads"})
        self.registry = make_registry()

    def drop_role(self, site: dict[str, Any], role: str) -> None:
        with psycopg.connect(
            host=site["HOST"], port=site["PORT"], user=site["USER"], password=site["PASSWORD"], dbname=site["NAME"]
        ) as connection:
            connection.execute(f"DROP OWNED BY {role}".encode())
            connection.execute(f"DROP ROLE {role}".encode())

    def start(self) -> Identifier:
        identifier = Identifier(Reader(make_settings(database="reading"), self.registry), self.reactor)
        identifier.start()
        self.addCleanup(identifier.stop)
        return identifier


class Guard:
    """Sees all SQL: what the reactor's thread asks, and what others ask of which database."""

    def __init__(self, case: CommittedCase) -> None:
        from django.db.backends.signals import connection_created

        self.here: list[str] = []
        self.there: list[str] = []
        self.aliases: set[str] = set()
        self._reactor = threading.get_ident()
        connection_created.connect(self._created)
        case.addCleanup(connection_created.disconnect, self._created)
        for connection in connections.all():
            self._created(connection)

    def _created(self, connection: Any, **_: Any) -> None:
        if not any(getattr(each, "__self__", None) is self for each in connection.execute_wrappers):
            connection.execute_wrappers.append(self._see)

    def _see(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if threading.get_ident() == self._reactor:
            self.here.append(sql)
        else:
            self.there.append(sql)
            self.aliases.add(context["connection"].alias)
        return execute(sql, params, many, context)


class SelectOnlyTests(SelectOnlyCase):
    """All that the daemon asks of the database."""

    async def test_everything(self) -> None:
        """Logins, tickets, rules and a look at everybody work by that account alone, in a few queries for many, all of
        them SELECT, none in the reactor's thread; and what it must not do it can't."""
        users = [User(username=f"user{number}", password="!unusable") for number in range(VISITORS)]
        User.objects.bulk_create(users)
        group = Group.objects.create(name="clients")
        group.permissions.add(Permission.objects.get(codename="add_group"))
        membership: Any = User.groups.through
        membership.objects.bulk_create(membership(user=user, group=group) for user in users)
        anna = User.objects.create_user("anna", password="pw")
        cookies = [login(user) for user in [anna, *users]]
        good = ticket(anna)
        guard, identifier = Guard(self), self.start()

        found = await gatherResults([Deferred.fromCoroutine(identifier.identify(each)) for each in cookies])
        self.assertEqual([each.user for each in found if each], [str(user.pk) for user in [anna, *users]])
        self.assertEqual({each.permissions for each in found[1:] if each}, {frozenset({"auth.add_group"})})
        batches = identifier.logins.counters.batches
        self.assertLessEqual(batches, 8)
        self.assertEqual(len(guard.there), 5 * batches)

        User.objects.filter(username="user1").update(is_active=False)
        guard.here.clear()
        snapshots = [each for each in found if each is not None]
        again = await gatherResults([Deferred.fromCoroutine(identifier.reidentify(each)) for each in snapshots])
        self.assertEqual([each is None for each in again], [False, False, True] + [False] * (VISITORS - 2))
        rule = directory_of(self.registry).rule_for("rooms.mine")
        assert rule is not None
        self.assertTrue(await identifier.allows(snapshots[0], rule, "rooms.mine"))
        self.assertFalse(await identifier.allows(snapshots[1], rule, "rooms.mine"))
        identifier.redemption = Redemption(self.reactor, lambda _: True)
        redeemed = Deferred.fromCoroutine(identifier.redeem(good))
        identifier.redemption.met(read_ticket(good).word, mine=True)
        snapshot = await redeemed
        self.assertEqual(snapshot and snapshot.user, str(anna.pk))

        self.assertEqual(guard.here, [])
        self.assertEqual([sql for sql in guard.there if not sql.startswith("SELECT")], [])
        self.assertEqual(guard.aliases, {"reading"})
        refused = self.assertRaises(ProgrammingError, User.objects.using("reading").update, is_active=True)
        self.assertIn("permission denied", str(refused))
