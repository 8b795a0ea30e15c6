"""Tickets: who can't show a session cookie shows one of these, once, within half a minute.

    ticket(user)     for pages of another origin, for native programs, for anybody whom the site has identified itself
    ticket_view      the same as an address: POST by a logged-in user, `{"ticket": "...", "seconds": 30}`

A ticket is a text that Django's signer has signed: whose it is, what stands for his password now, when, and a random
number by which the daemons know that it was shown before (`livepush.daemon.redemption`). Nothing in it is a secret, but
the whole is one, for its half minute.

A connection by ticket has no session that could be looked up. What ends it: the logout of the session that it was made
in, if that was named; `disconnect(user)`, another password, a user who is blocked or deleted; and each of its channels
goes with the permission for it.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from dataclasses import dataclass
from typing import Any

from django.core import signing
from django.http import HttpRequest, JsonResponse
from django.utils.crypto import constant_time_compare
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from livepush.broker.envelope import session_hash
from livepush.django.actor import user_name
from livepush.django.errors import BadTicket

SECONDS = 30
"""How long a ticket is good. The clocks of Django and daemon may differ by as much."""

SALT = "livepush.ticket"
MOST_CHARS = 1_000

_WORD = re.compile(r"[A-Za-z0-9_-]{16,64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a ticket says.

    Attributes:
        user: `str(pk)`.
        mark: what stood for the user's password, see `mark_of`.
        word: nobody else's.
        origin: the hash of the session that it was made in; None: of none.
    """

    user: str
    mark: str
    word: str
    origin: str | None


def ticket(user: Any, *, session: str | None = None) -> str:
    """A text by which a client may connect as this user, once, within 30 s.

    The client shows it in place of a cookie: as `ticket` in `hello`, in Socket.IO's `auth`, or in the address of a
    stream of server-sent events. It asks the database nothing.

    Args:
        user: who is logged in, as the caller knows; an instance of the user model.
        session: `request.session.session_key`, whose logout is to end the connection; the ticket holds its hash.

    Raises:
        TypeError: it is no user.
        ValueError: it is nobody, or not saved.
    """
    name = user_name("user", user)
    if name is None:
        raise ValueError("user: an anonymous visitor has no ticket; he connects without one, where LIVEPUSH_ANONYMOUS")
    origin = None if session is None else session_hash(session)
    said = [name, mark_of(user), secrets.token_urlsafe(16), int(time.time()), origin]
    return signing.Signer(salt=SALT).sign_object(said, compress=False)


def read_ticket(text: str) -> Ticket:
    """What a ticket says that is good by itself: whether it was shown before only the daemons know.

    Raises:
        BadTicket: nobody of this site has made it, or not lately.
    """
    if len(text) > MOST_CHARS:
        raise BadTicket("it is too long")
    try:
        said: Any = signing.Signer(salt=SALT).unsign_object(text)
        name, mark, word, made, origin = said
        good = all(isinstance(each, str) for each in (name, mark, word, origin or "")) and isinstance(made, int)
    except Exception:  # signed by nobody here; whatever a decoder thinks of it
        raise BadTicket("its signature is not this site's") from None
    if not good or not _WORD.fullmatch(word):
        raise BadTicket("it says nothing that is known here")
    if not -SECONDS <= time.time() - made <= SECONDS:
        raise BadTicket(f"it was not made in the last {SECONDS} s")
    return Ticket(name, mark, word, origin)


def mark_of(user: Any) -> str:
    """What stands for a user's password, so that another one ends his tickets; "": his model has none."""
    if not hasattr(user, "get_session_auth_hash"):
        return ""
    return hashlib.sha256(f"{SALT} {user.get_session_auth_hash()}".encode()).hexdigest()[:32]


def is_marked(user: Any, mark: str) -> bool:
    """Whether his password is still the one that the ticket was made with."""
    return constant_time_compare(mark_of(user), mark)


@never_cache
@require_POST
def ticket_view(request: HttpRequest) -> JsonResponse:
    """A ticket for the logged-in user; 403 for anybody else. Django's CSRF protection is as for any form."""
    if not request.user.is_authenticated:
        return JsonResponse({"error": "log in first"}, status=403)
    made = ticket(request.user, session=request.session.session_key)
    return JsonResponse({"ticket": made, "seconds": SECONDS})
