"""Tests of livepush.django.receivers: what Django tells of its users reaches the daemons."""

from __future__ import annotations

import json
from datetime import timedelta
from importlib import import_module
from typing import Any

from django.apps import apps
from django.contrib.auth import SESSION_KEY, authenticate, login, logout, update_session_auth_hash
from django.contrib.auth.models import Group, Permission, User
from django.contrib.sessions.models import Session
from django.core import management
from django.db import connection, models, transaction
from django.db.models.signals import m2m_changed, post_delete, post_save
from django.http import HttpRequest
from django.test.utils import isolate_apps
from django.utils import timezone

from livepush.broker.envelope import session_hash
from livepush.django.conf import SIGNALS
from livepush.django.control import USERS, Controls
from livepush.django.outlet import Outlet
from livepush.django.receivers import Receivers, untold
from tests.cases import CommittedCase
from tests.recorder import Recorder


class ReceiversCase(CommittedCase):
    """A site whose receivers tell a recorder."""

    names: tuple[str, ...] = SIGNALS

    def setUp(self) -> None:
        super().setUp()
        self.recorder = Recorder()
        self.user = User.objects.create_user("ann", password="secret")
        self.group: Any = Group.objects.create(name="clients")
        self.permission: Any = Permission.objects.get(codename="view_group")
        self.receivers = Receivers(Controls(Outlet(lambda: self.recorder)))
        self.receivers.connect(self.names)
        self.addCleanup(self.receivers.disconnect)

    def told(self) -> list[Any]:
        """Since the last call: of an `identity` whom it concerns, of others all that it says."""
        bodies = [body if body["what"] != "identity" else body["user"] for body in self.recorder.bodies]
        self.recorder.drafts.clear()
        self.recorder.tickets.clear()
        return bodies

    @property
    def ann(self) -> list[str]:
        """Told once, of her."""
        return [str(self.user.pk)]

    def another(self, name: str = "bob") -> User:
        """A user more."""
        return User.objects.create_user(name)


class UserTests(ReceiversCase):
    """What is saved of a user."""

    def test_password_and_flags(self) -> None:
        """Another password, a user who is blocked, or made a superuser or not."""
        self.user.set_password("other")
        self.user.save()
        self.assertEqual(self.told(), self.ann)
        for field in ("is_active", "is_superuser", "password"):
            self.user.save(update_fields=[field])
            self.assertEqual(self.told(), self.ann, field)

    def test_what_says_nothing_of_rights(self) -> None:
        """A user who is new has no page yet, and each login saves `last_login`."""
        self.another()
        self.user.save(update_fields=["last_login"])
        self.user.save(update_fields=[])
        self.assertEqual(self.told(), [])
        self.receivers.unrelated = frozenset({"last_login", "email"})
        self.user.save(update_fields=["email", "last_login"])
        self.assertEqual(self.told(), [])
        self.user.save(update_fields=["email", "is_active"])
        self.assertEqual(self.told(), self.ann)

    def test_at_the_commit(self) -> None:
        """A daemon that looks then sees it; many changes are one message; a rollback tells nothing."""
        with transaction.atomic():
            for _ in range(3):
                self.user.save()
            self.user.groups.add(self.group)
            self.assertEqual(self.told(), [])
        self.assertEqual(self.told(), self.ann)
        with transaction.atomic():
            self.user.save()
            transaction.set_rollback(True)
        self.assertEqual(self.told(), [])

    def test_deleted(self) -> None:
        """He has gone."""
        ann = self.ann
        self.user.delete()
        self.assertEqual(self.told(), ann)

    def test_deleted_by_a_query(self) -> None:
        """Django tells of each."""
        pks = [self.another(name).pk for name in ("bob", "tom")]
        User.objects.filter(pk__in=pks).delete()
        self.assertEqual(sorted(self.told()), sorted(map(str, pks)))

    def test_fixture(self) -> None:
        """`loaddata` writes a user who is there, and his groups."""
        self.user.groups.add(self.group)
        self.told()
        file = self.database.with_suffix(".json")
        management.call_command("dumpdata", "auth.user", output=str(file))
        management.call_command("loaddata", str(file), verbosity=0)
        self.assertEqual(self.told(), self.ann)

    @isolate_apps("exchange.orders")
    def test_other_models_of_users(self) -> None:
        """Proxies, and models that extend the user's, are told of under the name of the user."""

        class Clerk(User):
            class Meta:
                proxy = True
                app_label = "orders"

        class Driver(User):
            number: Any = models.AutoField(primary_key=True)
            user: Any = models.OneToOneField(User, models.CASCADE, parent_link=True, related_name="driver")

            class Meta:
                app_label = "orders"

        self.receivers.disconnect()
        self.patch(apps, "get_models", lambda: [User, Clerk, Driver, Session])
        self.receivers.connect()
        self.addCleanup(self.receivers.disconnect)
        Clerk.objects.get(pk=self.user.pk).save()
        self.assertEqual(self.told(), self.ann)
        driver = Driver(number=77, user=self.user)
        driver.__dict__.update(self.user.__dict__)
        for signal, model, instance in ((post_save, Driver, driver), (post_delete, Driver, driver)):
            signal.send(model, instance=instance, created=False, update_fields=None, using="default", raw=False)
            self.assertEqual(self.told(), self.ann)

    def test_broken(self) -> None:
        """The site's own save does not fail because livepush can't tell of it."""
        self.receivers.disconnect()

        def broken() -> Recorder:
            raise RuntimeError("no settings")

        receivers = Receivers(Controls(Outlet(broken)))
        receivers.connect()
        self.addCleanup(receivers.disconnect)
        with self.assertLogs("livepush", "ERROR"):
            self.user.save()
        self.user.refresh_from_db()


class PermissionTests(ReceiversCase):
    """Groups and permissions."""

    def test_of_a_user(self) -> None:
        """Given, taken away, set, cleared; what changes nothing is not told."""
        for manager, thing in ((self.user.groups, self.group), (self.user.user_permissions, self.permission)):
            for change in (
                manager.add,
                manager.remove,
                lambda it, m=manager: m.set([it]),
                lambda _, m=manager: m.clear(),
            ):
                change(thing)
                self.assertEqual(self.told(), self.ann)

    def test_from_the_other_side(self) -> None:
        """The users of a group or of a permission are named; whose it was when all are removed is gone."""
        bob = self.another()
        for manager in (self.group.user_set, self.permission.user_set):
            manager.add(self.user, bob)
            self.assertEqual(sorted(self.told()), sorted([*self.ann, str(bob.pk)]))
            manager.remove(bob)
            self.assertEqual(self.told(), [str(bob.pk)])
            manager.clear()
            self.assertEqual(self.told(), [None])

    def test_of_a_group(self) -> None:
        """Its members are told of, as they are when it is committed."""
        self.user.groups.add(self.group)
        bob = self.another()
        self.told()
        self.group.permissions.add(self.permission)
        self.assertEqual(self.told(), self.ann)
        self.permission.group_set.remove(self.group)
        self.assertEqual(self.told(), self.ann)
        with transaction.atomic():
            self.group.permissions.add(self.permission)
            through: Any = User.groups.through
            through.objects.create(user=bob, group=self.group)  # no signal
        self.assertEqual(sorted(self.told()), sorted([*self.ann, str(bob.pk)]))
        self.permission.group_set.clear()
        self.assertEqual(self.told(), [None])

    def test_large_group(self) -> None:
        """One with very many members is told as everybody: one message, and one look at each."""
        users = User.objects.bulk_create(User(username=f"u{number}") for number in range(USERS + 1))
        through: Any = User.groups.through
        through.objects.bulk_create(through(user=user, group=self.group) for user in users)
        self.group.permissions.add(self.permission)
        self.assertEqual(self.told(), [None])
        self.group.delete()
        self.assertEqual(self.told(), [None])

    def test_members_unknown(self) -> None:
        """When the database can't say who the members are after the commit, everybody is told of."""
        self.user.groups.add(self.group)
        self.told()
        with self.assertLogs("livepush", "ERROR"), transaction.atomic():
            self.group.permissions.add(self.permission)
            connection.on_commit(connection.close)
            connection.on_commit(lambda: self.patch(connection, "connect", self.refuse))
            self.group.permissions.remove(self.permission)
        self.assertIn(None, self.told())

    def refuse(self) -> None:
        raise ConnectionError("the database is away")

    def test_deleted(self) -> None:
        """A group that is deleted sends no `m2m_changed` for its members; a permission neither."""
        self.user.groups.add(self.group)
        self.told()
        self.group.delete()
        self.assertEqual(self.told(), self.ann)
        self.permission.delete()
        self.assertEqual(self.told(), [None])


class SessionTests(ReceiversCase):
    """Logins that end."""

    def request(self) -> HttpRequest:
        """Of a browser where Ann is logged in."""
        request = HttpRequest()
        request.session = import_module("django.contrib.sessions.backends.db").SessionStore()
        request.META["REMOTE_ADDR"] = "127.0.0.1"
        login(request, authenticate(request, username="ann", password="secret"))
        request.session.save()
        self.told()
        request.user = self.user
        return request

    def test_login(self) -> None:
        """Who logs in concerns no page that is there."""
        self.request()
        self.assertEqual(self.told(), [])

    def test_logout(self) -> None:
        """The session is over, before it is deleted: it goes out as a hash, never as it is."""
        request = self.request()
        key = str(request.session.session_key)
        logout(request)
        (first, second) = self.told()
        self.assertEqual(first, {"what": "logout", "user": self.ann[0], "session": session_hash(key)})
        self.assertEqual(second, self.ann[0])
        self.assertNotIn(key, json.dumps(first))

    def test_nobody_logs_out(self) -> None:
        """A visitor who was not logged in costs the daemons nothing, however often he asks to be logged out."""
        request = HttpRequest()
        request.session = import_module("django.contrib.sessions.backends.db").SessionStore()
        request.session["basket"] = 1
        request.session.save()
        logout(request)
        self.assertEqual(self.told(), [])

    def test_deleted(self) -> None:
        """`flush`, the admin, a query; what let nobody in concerns nobody."""
        request = self.request()
        request.session.flush()
        self.assertEqual(self.told(), self.ann)
        self.request()
        Session.objects.all().delete()
        self.assertEqual(self.told(), self.ann)
        Session.objects.create(session_key="anonymous1", session_data="", expire_date=timezone.now() + timedelta(1))
        Session.objects.all().delete()
        self.assertEqual(self.told(), [])

    def test_expired(self) -> None:
        """`clearsessions` tells of nothing: what has expired let nobody in."""
        self.request()
        Session.objects.update(expire_date=timezone.now() - timedelta(seconds=1))
        management.call_command("clearsessions")
        self.assertEqual((self.told(), Session.objects.count()), ([], 0))

    def test_password_of_ones_own(self) -> None:
        """The session gets another key: the user is told of, and no session is said to be over."""
        request = self.request()
        self.user.set_password("other")
        self.user.save()
        update_session_auth_hash(request, self.user)
        self.assertEqual(self.told(), self.ann * 2)
        self.assertEqual(request.session[SESSION_KEY], self.ann[0])

    def test_without_keys(self) -> None:
        """With signed_cookies the cookie is the session's name, and what it holds is not kept anywhere."""
        request = self.request()
        request.session = import_module("django.contrib.sessions.backends.signed_cookies").SessionStore("a-cookie")
        logout(request)
        self.assertEqual(self.told(), [{"what": "logout", "user": self.ann[0], "session": session_hash("a-cookie")}])


class ChoiceTests(ReceiversCase):
    """LIVEPUSH_SIGNALS."""

    names = ("users",)

    def test_chosen(self) -> None:
        """Only what is named is connected."""
        self.user.groups.add(self.group)
        self.assertEqual(self.told(), [])
        self.assertFalse(post_delete.has_listeners(Session))
        self.user.save()
        self.assertEqual(self.told(), self.ann)

    def test_untold(self) -> None:
        """A script that fills a database tells nothing, and what follows it does."""
        with untold():
            self.user.save()
        self.assertEqual(self.told(), [])
        self.user.save()
        self.assertEqual(self.told(), self.ann)

    def test_no_other_model_pays(self) -> None:
        """Nothing is connected to all models."""
        self.receivers.connect()
        for signal in (post_save, post_delete, m2m_changed):
            self.assertFalse(signal.has_listeners(Permission.content_type.field.related_model), signal)
