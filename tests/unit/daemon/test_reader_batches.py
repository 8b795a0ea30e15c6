"""Many visitors at once: few queries for all of them, and each as he would be alone."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import Group, Permission, User
from django.db import OperationalError, connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from livepush.broker.envelope import session_hash
from livepush.daemon.entitlement import Snapshot
from livepush.daemon.reader import Question, Reader, Wish, directory_of
from tests.cases import DjangoCase
from tests.unit.daemon import site_doubles
from tests.unit.daemon.site_doubles import MODEL_BACKEND, grant, login, make_registry, make_settings

QUERIES = 5
"""Sessions; users; their permissions; their groups; those of the groups."""


class PickyBackend(ModelBackend):
    """Knows nobody of an even number, and has a rule of its own for permissions."""

    def get_user(self, user_id: Any) -> Any:
        if user_id % 2 == 0:
            return None
        return super().get_user(user_id)

    def _get_user_permissions(self, user_obj: Any) -> Any:
        return Permission.objects.filter(codename="add_group")


class FragileBackend(ModelBackend):
    """Fails at one user."""

    def get_user(self, user_id: Any) -> Any:
        user = super().get_user(user_id)
        if user is not None and user.get_username() == "user3":
            raise RuntimeError("a fault in the site's backend")
        return user


class BatchCase(DjangoCase):
    """Twelve users who have logged in, with rights of several kinds."""

    backend = MODEL_BACKEND

    def setUp(self) -> None:
        super().setUp()
        self.registry = make_registry()
        self.users = [User.objects.create_user(f"user{number}", password="pw") for number in range(12)]
        moderators, clients = (Group.objects.create(name=name) for name in ("moderators", "clients"))
        moderators.permissions.add(Permission.objects.get(codename="delete_group"))
        clients.permissions.add(Permission.objects.get(codename="add_group"))
        for user in self.users[:4]:
            user.groups.add(moderators)
        for user in self.users[2:6]:
            user.groups.add(clients)
        grant(self.users[6], "add_group")
        User.objects.filter(username="user7").update(is_superuser=True)
        self.cookies = [login(user, self.backend) for user in self.users]

    def questions(self) -> list[Question]:
        reader = make_settings().sessions
        return [Question(reader.key_of(cookies)) for cookies in self.cookies]

    def both(self, **changes: Any) -> tuple[list[Any], list[Any]]:
        """What is found of all together, and of each alone."""
        reader = Reader(make_settings(**changes), self.registry)
        questions = self.questions()
        return reader.look(questions), [reader.look([question])[0] for question in questions]


class LookTests(BatchCase):
    """Sessions, users and permissions of many visitors."""

    def test_few_queries(self) -> None:
        """As many queries for twelve as for two hundred, and the same snapshots as one by one."""
        together, alone = self.both()
        self.assertEqual(together, alone)
        held = [sorted(each.permissions) for each in together]
        delete, add = ["auth.delete_group"], ["auth.add_group"]
        self.assertEqual(held, [delete] * 2 + [add + delete] * 2 + [add] * 3 + [add + delete] + [[]] * 4)
        self.assertTrue(together[7].is_superuser)
        with CaptureQueriesContext(connection) as seen:
            Reader(make_settings(), self.registry).look(self.questions())
        self.assertEqual(len(seen), QUERIES)
        more = [User.objects.create(username=f"more{number}") for number in range(20)]
        questions = [*self.questions(), *(Question(_key(login(user))) for user in more)]
        with CaptureQueriesContext(connection) as seen:
            found = Reader(make_settings(), self.registry).look(questions)
        self.assertEqual((len(seen), sum(each is not None for each in found)), (QUERIES, 32))

    def test_ended(self) -> None:
        """Whose session has expired or gone, whose password is another one, who is blocked or deleted: nobody, and
        the others are who they are."""
        reader = Reader(make_settings(), self.registry)
        questions = self.questions()
        _session(self.cookies[0]).delete()
        _session(self.cookies[1]).update(expire_date="2000-01-01T00:00:00Z")
        User.objects.filter(username="user2").update(is_active=False)
        self.users[3].set_password("another")
        self.users[3].save()
        self.users[4].delete()
        found = reader.look(questions)
        self.assertEqual([each is None for each in found], [True] * 5 + [False] * 7)
        self.assertEqual(found, [reader.look([question])[0] for question in questions])

    def test_without_sessions(self) -> None:
        """Where cookies hold the sessions, users are read by their keys: together, too."""
        reader = Reader(make_settings(), self.registry)
        known = [each for each in reader.look(self.questions()) if isinstance(each, Snapshot)]
        questions = [Question("", each.user, each.auth_hash) for each in known]
        with CaptureQueriesContext(connection) as seen:
            found = reader.look(questions)
        self.assertEqual(len(seen), QUERIES - 1)
        self.assertEqual([each.user for each in found if isinstance(each, Snapshot)], [each.user for each in known])
        self.assertEqual({each.session_key for each in found if isinstance(each, Snapshot)}, {None})
        User.objects.filter(username="user0").update(is_active=False)
        self.assertIsNone(reader.look(questions)[0])
        self.assertIsNone(reader.look([Question("", known[1].user, "void"), *questions[:2]])[0])

    def test_nobody_among_them(self) -> None:
        """A void cookie is nobody, or where visitors are admitted one of them."""
        questions = [Question(""), Question("a" * 32), *self.questions()]
        found = Reader(make_settings(), self.registry).look(questions)
        self.assertEqual(found[:2], [None, None])
        first, second, third, *_ = Reader(make_settings(anonymous=True), self.registry).look(questions)
        assert isinstance(first, Snapshot)
        assert isinstance(third, Snapshot)
        self.assertEqual((first, first.user, third.user), (second, None, str(self.users[0].pk)))

    def test_cached_sessions(self) -> None:
        """With a cache before the database it is asked once for all, and the database for what it does not hold."""
        for engine in ("cached_db", "cache"):
            with override_settings(SESSION_ENGINE=f"django.contrib.sessions.backends.{engine}"):
                self.cookies = [login(user) for user in self.users]
                with CaptureQueriesContext(connection) as seen:
                    together, alone = self.both()
                self.assertEqual(together, alone, engine)
                self.assertEqual([each.user for each in together], [str(user.pk) for user in self.users])
                self.assertFalse([each for each in seen if "django_session" in each["sql"]])
        with override_settings(SESSION_ENGINE="django.contrib.sessions.backends.cached_db"):
            self.cookies = [login(user) for user in self.users]
            from django.core.cache import cache

            cache.clear()
            with CaptureQueriesContext(connection) as seen:
                Reader(make_settings(), self.registry).look(self.questions())
            self.assertEqual(len(seen), QUERIES)

    def test_signed_cookies(self) -> None:
        """The cookie is the session: its hash is what a logout names, and it stays with who is looked at anew."""
        with override_settings(SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies"):
            self.cookies = [login(user) for user in self.users]
            together, alone = self.both()
            reader = Reader(make_settings(), self.registry)
            self.assertEqual([reader.reidentify(each) for each in together], together)
        self.assertEqual(together, alone)
        keys = [session_hash(question.key) for question in self.questions()]
        self.assertEqual([(each.session_key, each.session_name) for each in together], [(None, key) for key in keys])

    def test_a_database_that_is_away(self) -> None:
        """Then it is everybody's answer, after one attempt: nobody waits for five hundred."""
        tried: list[str] = []

        def fail(execute: Any, sql: str, *_: Any) -> Any:
            tried.append(sql)
            raise OperationalError("away")

        with connection.execute_wrapper(fail):
            self.assertRaises(OperationalError, Reader(make_settings(), self.registry).look, self.questions())
        self.assertEqual(len(tried), 1)


class OwnBackendTests(BatchCase):
    """Where the site has a backend of its own its code is asked for each user."""

    backend = f"{__name__}.PickyBackend"

    def test_picky(self) -> None:
        """Whom it does not know is nobody, and its own rule for permissions counts."""
        with override_settings(AUTHENTICATION_BACKENDS=[self.backend]):
            together, alone = self.both()
        self.assertEqual(together, alone)
        for user, found in zip(self.users, together, strict=True):
            self.assertEqual(found is None, user.pk % 2 == 0)
            self.assertTrue(found is None or "auth.add_group" in found.permissions)

    def test_beside_djangos_own(self) -> None:
        """A backend that grants to everybody does so also beside Django's own, which is read for all at once."""
        generous = f"{site_doubles.__name__}.GenerousBackend"
        with override_settings(AUTHENTICATION_BACKENDS=[MODEL_BACKEND, generous]):
            self.cookies = [login(user) for user in self.users]
            together, alone = self.both()
        self.assertEqual(together, alone)
        self.assertTrue(all("auth.add_group" in found.permissions for found in together))

    def test_one_breaks(self) -> None:
        """A fault of the site's code at one user is his own answer."""
        fragile = f"{__name__}.FragileBackend"
        with override_settings(AUTHENTICATION_BACKENDS=[fragile]):
            self.cookies = [login(user, fragile) for user in self.users]
            found = Reader(make_settings(), self.registry).look(self.questions())
        self.assertEqual([type(each) for each in found], [Snapshot] * 3 + [RuntimeError] + [Snapshot] * 8)


class JudgeTests(BatchCase):
    """Object-level rules of many visitors."""

    def test_many(self) -> None:
        """The users are read once, together, and each rule is asked for each; what it raises is its own answer."""
        reader = Reader(make_settings(), self.registry)
        rule = directory_of(self.registry).rule_for("rooms.mine")
        assert rule is not None
        snapshots = [each for each in reader.look(self.questions()) if isinstance(each, Snapshot)]
        User.objects.filter(username="user0").update(username="anna")
        wishes = [Wish(snapshot, rule, "rooms.mine") for snapshot in snapshots]
        with CaptureQueriesContext(connection) as seen:
            self.assertEqual(reader.judge(wishes), [True] + [False] * 11)
        self.assertEqual(len(seen), 1)
        found = reader.judge([Wish(snapshots[0], rule, f"rooms.{room}") for room in ("broken", "mine", "down")])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertEqual([type(each) for each in found], [bool, bool, OperationalError])


def _key(cookies: str) -> str:
    return cookies.partition("=")[2]


def _session(cookies: str) -> Any:
    from django.contrib.sessions.models import Session

    return Session.objects.filter(session_key=_key(cookies).removeprefix(f"{settings.SESSION_COOKIE_NAME}="))
