"""Calls as Django answers them: the daemon's door to the code of the site, and the only one that writes.

who         session, user and rights are read anew, from `LIVEPUSH_AUTH_DATABASE` as for any look-up
whether     only a channel that he may listen to now, its object-level rule included
receive     `livepush.django.receiving.call`, with the user from where the site's routers say
refusals    `CallRefused`, `PermissionDenied` and `Http404` are the site's words for no. Whatever else it raises is
            logged here with its traceback, without what the page sent, and the page is told `failed`
"""

from __future__ import annotations

from typing import NoReturn

from django.core.exceptions import PermissionDenied
from django.http import Http404
from twisted.logger import Logger

from livepush.broker.envelope import Json
from livepush.broker.url import BrokerURL
from livepush.daemon.entitlement import Directory, Snapshot
from livepush.daemon.errors import LoggedOut, Refusal
from livepush.daemon.reader import IdentitySettings, Reader, directory_of, with_connections
from livepush.django import channels, receiving
from livepush.django.actor import Caller
from livepush.django.errors import CallRefused
from livepush.django.outlet import Outlet, outlet
from livepush.wire.requests import Call, ErrorCode

FLUSH_SECONDS = 1.5
"""How long the end waits for what calls have published; an embedded broker ends after it."""

_log = Logger()


class Receiver:
    """Answers calls. Blocking; any thread.

    Args:
        settings: how users are looked up.
        registry: the declared channels.
        outlet: what `publish` uses.
        broker: that `publish` is to use here; None: what the settings say.
    """

    def __init__(
        self,
        settings: IdentitySettings,
        registry: channels.Registry = channels.declared,
        outlet: Outlet = outlet,
        broker: BrokerURL | None = None,
    ) -> None:
        if broker is not None:
            outlet.lead_to(broker)
        self._reader, self._registry, self._outlet = Reader(settings, registry), registry, outlet
        self._directory: Directory = directory_of(registry)

    def perform(self, snapshot: Snapshot, tab: str | None, call: Call) -> Json:
        """The answer to a call.

        Args:
            snapshot: who the connection's user was; read anew here.
            tab: of the connection.
            call: with checked names.

        Raises:
            LoggedOut: his login has ended.
            Refusal: there is no answer.
        """
        return with_connections(lambda: self._perform(snapshot, tab, call))

    def end(self) -> None:
        """Waits, 1.5 s at most, until what calls have published is confirmed."""
        self._outlet.flush(FLUSH_SECONDS)

    def _perform(self, snapshot: Snapshot, tab: str | None, call: Call) -> Json:
        try:
            user = self._admit(snapshot, call.channel)
        except (LoggedOut, Refusal):
            raise
        except Exception:
            # The boundary to the database, and to the site's backends: the page may try again.
            _log.failure("Who calls {channel} could not be found out.", channel=call.channel)
            raise Refusal(ErrorCode.BUSY, "the server can't answer now", retry=True) from None
        try:
            return receiving.call(self._registry, Caller(user, tab, call.channel), call.type, call.data)
        except CallRefused as refused:
            raise Refusal(refused.code, refused.message) from None
        except PermissionDenied:
            _forbid()
        except Http404:
            raise Refusal(ErrorCode.NOT_FOUND, "there is no such thing") from None
        except (Exception, SystemExit):
            # The site's code, for one call: the page is told, and all else goes on.
            _log.failure("receive() of {channel} failed at {type!r}.", channel=call.channel, type=call.type)
            raise Refusal(ErrorCode.FAILED, "the server failed") from None

    def _admit(self, known: Snapshot, channel: str) -> object:
        """The user, if he may listen to the channel now."""
        snapshot = self._reader.reidentify(known)
        if snapshot is None:
            raise LoggedOut
        grant = self._directory.grant(snapshot, channel)
        if grant is None or (grant.guard is not None and not self._reader.allows(snapshot, grant.guard, channel)):
            _forbid()
        user: object = self._reader.user_of(snapshot)
        if user is None:
            raise LoggedOut
        return user


def _forbid() -> NoReturn:
    raise Refusal(ErrorCode.FORBIDDEN, "this is not open to you") from None
