"""What is attacked: a site, two processes of its daemon and a RabbitMQ, one set of them for all tests of this package.

daemon     livepush's defaults, but for a few smaller bounds (`guarded.settings`)
legacy     the same with SockJS's transports for old browsers
site       Python in the site's process
visitor    somebody who has logged in by the site's own login page
"""

from __future__ import annotations

import atexit
import itertools
import os
import secrets
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from tests.acceptance.security.console import Console
from tests.servers.child import private_folder
from tests.servers.daemon import Daemon, DjangoSite, clean_environment
from tests.servers.ports import free_ports
from tests.servers.rabbitmq import VirtualHost, shared_rabbitmq

ORIGIN = "https://good.example"
EVIL = "https://evil.example"
ROOT = Path(__file__).parents[3]
PROJECT = Path(__file__).parent / "project"
PASSWORD = "livepush"

_LOGIN = """
for codename in rights:
    Permission.objects.get(codename=codename)
user = User.objects.create_user(name, password=password)
user.user_permissions.set(Permission.objects.filter(codename__in=rights))
page = browser()
assert page.post("/login/", {"username": name, "password": password}).status_code == 302
[user.pk, page.cookies["sessionid"].value]
"""


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody who is logged in.

    Attributes:
        user: primary key.
        name: of the account.
        session: the key of the session, as it stands in the cookie.
    """

    user: int
    name: str
    session: str

    @property
    def cookie(self) -> tuple[str, str]:
        """The header of his browser."""
        return "Cookie", f"sessionid={self.session}"

    @property
    def headers(self) -> list[tuple[str, str]]:
        """Those of a request that a page of the site makes."""
        return [self.cookie, ("Origin", ORIGIN)]

    def with_session(self, session: str) -> Visitor:
        """The same with another key."""
        return replace(self, session=session)


class World:
    """All of it, running.

    Attributes:
        site: Python in the site's process.
        port: of the daemon.
        legacy_port: of the one that serves old browsers, too.
        vhost: of the RabbitMQ, where `guest` may do everything.
        secrets: what must be seen nowhere, by what it is.
        variables: the environment of the site's processes.
    """

    def __init__(self) -> None:
        self.folder = private_folder("security")
        self.vhost: VirtualHost = shared_rabbitmq().fresh_vhost()
        key, password = secrets.token_hex(24), secrets.token_hex(12)
        self.secrets = {"SECRET_KEY": key, "the broker's password": password, "the token": "canary-of-the-status-token"}
        self._account = f"canary-{secrets.token_hex(4)}"
        self._add_user(password)
        self.variables = {
            "GUARDED_FOLDER": str(self.folder),
            "GUARDED_SECRET": key,
            "LIVEPUSH_BROKER_URL": self.vhost.url(user=self._account, password=password),
            "DJANGO_SETTINGS_MODULE": "guarded.settings",
            "PYTHONPATH": str(PROJECT),
        }
        environ = clean_environment(**self.variables)
        self.site = Console(PROJECT, environ, self.folder / "site.log")
        self.site("1")  # the tables are there
        self.port, self.legacy_port = free_ports(2)
        self.daemon = self.start(self.port)
        self.legacy = self.start(self.legacy_port, "guarded.legacy")
        for daemon in (self.daemon, self.legacy):
            daemon.wait_for("Feed ready")
        self._number = itertools.count(1)

    def _add_user(self, password: str) -> None:
        everything = '<<".*">>, <<".*">>, <<".*">>, <<"tests">>'
        self.vhost.node.ctl(
            "eval",
            f'rabbit_auth_backend_internal:add_user(<<"{self._account}">>, <<"{password}">>, <<"tests">>), '
            f'rabbit_auth_backend_internal:set_permissions(<<"{self._account}">>, '
            f'<<"{self.vhost.name}">>, {everything}).',
        )

    def start(self, port: int, settings: str = "guarded.settings", *words: str, **environ: str) -> Daemon:
        """One more process of the daemon; the caller ends it."""
        site = DjangoSite(PROJECT, 0, "")
        return Daemon(site, "--port", str(port), *words, environ={**self.variables, **environ}, settings=settings)

    def visitor(self, *rights: str) -> Visitor:
        """A new user with these permissions, logged in; without any named he is a client of the orders."""
        name = f"user{next(self._number)}-{os.getpid()}"
        rights = rights or ("view_group",)
        pk, session = self.site(_LOGIN, name=name, password=PASSWORD, rights=list(rights))
        return Visitor(pk, name, session)

    def publish(self, type: str, data: dict[str, Any], channel: str = "orders", **more: Any) -> None:  # noqa: A002
        """An event, confirmed by the broker."""
        self.site(
            "publish(channel, type, data, **more).result(30) and None", channel=channel, type=type, data=data, more=more
        )

    def close(self) -> None:
        """Ends the processes; the broker stays for others."""
        for daemon in (self.daemon, self.legacy):
            daemon.kill()
        self.site.close()
        self.vhost.node.ctl("delete_user", self._account)
        self.vhost.delete()


@cache
def _made() -> World | Exception:
    try:
        made = World()
    except Exception as error:  # the first test tells it, and the others fail at once
        return error
    atexit.register(made.close)
    return made


def world() -> World:
    """The world of this process; it ends with it.

    Raises:
        Exception: it could not be made, the first time it was asked for.
    """
    found = _made()
    if isinstance(found, Exception):
        raise found
    return found
