"""Who did it: the tab or the user that an event leaves out, because he has the answer to his request already.

`livepush.js` sends its tab's random id with the header `X-Livepush-Tab` (fetch, XHR) or the field `livepush_tab`
(forms). A request without either comes from a page without the script, or from a script: then all tabs of its user are
left out. A call over the page's own connection names the tab too: `Channel.caller`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import BadRequest, SuspiciousOperation, SynchronousOnlyOperation
from django.http.multipartparser import MultiPartParserError

from livepush.broker.envelope import Skip

TAB_HEADER = "HTTP_X_LIVEPUSH_TAB"
TAB_FIELD = "livepush_tab"

_TAB = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")
_ASYNC = "its user is not loaded yet, which an async view can't do here: `user = await request.auser()`, then skip=user"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls `Channel.receive`: what `skip=` takes in the place of a request.

    Attributes:
        user: an instance of the user model, or `AnonymousUser`.
        tab: the id of the tab; None where its connection has named none. Then `skip` leaves out all of the user's.
        channel: the name of the channel that was called.
    """

    user: Any
    tab: str | None
    channel: str


def skip_of(actor: Any) -> Skip | None:
    """What `publish(skip=...)` means.

    Args:
        actor: a request (Django's, or one that wraps it), a `Caller`, a user or None. An anonymous visitor is nobody
            who could be told apart, so without a tab nobody is left out.

    Raises:
        TypeError: it is none of these.
        ValueError: a user that is not saved, or one that an async view has not loaded.
    """
    if actor is None:
        return None
    if isinstance(actor, Caller):
        user = user_name("skip", actor.user)
        return None if user is None and actor.tab is None else Skip(user, actor.tab)
    try:
        is_request = hasattr(actor, "META")
    except SynchronousOnlyOperation:
        raise ValueError(f"skip: {_ASYNC}") from None
    if not is_request:
        user = user_name("skip", actor, "a request or a user")
        return None if user is None else Skip(user, None)
    tab = tab_of(actor)
    try:
        user = _user_of(actor)
    except SynchronousOnlyOperation:
        if tab is None:
            raise ValueError(f"skip: {_ASYNC}") from None
        user = None
    return None if user is None and tab is None else Skip(user, tab)


def tab_of(request: Any) -> str | None:
    """The id of the tab that sent a request; None where it names none, or one that can't be."""
    tab = request.META.get(TAB_HEADER)
    if tab is None and request.method == "POST" and getattr(request, "content_type", None) in _FORMS:
        try:
            tab = request.POST.get(TAB_FIELD)
        except (OSError, SuspiciousOperation, BadRequest, MultiPartParserError):
            return None  # a body that can't be read is the view's to refuse
    return tab if isinstance(tab, str) and _TAB.fullmatch(tab) else None


def user_name(place: str, user: Any, right: str = "a user") -> str | None:
    """A user's name in the envelope, `str(pk)`; None for an anonymous visitor.

    Args:
        place: the argument that it was given as, for the error.
        user: an instance of the user model, or `AnonymousUser`.
        right: what may be given there, for the error.

    Raises:
        TypeError: it is no user.
        ValueError: it is not saved.
    """
    if not hasattr(user, "is_authenticated") or not hasattr(user, "pk"):
        raise TypeError(f"{place}: must be {right}, not {type(user).__name__}; give the instance, not its pk")
    if user.pk is None:
        if not user.is_authenticated:
            return None
        raise ValueError(f"{place}: {type(user).__name__} has no pk; save it before publishing")
    return str(user.pk)


def _user_of(request: Any) -> str | None:
    """The request's user, without a query where it is loaded in any way."""
    user = getattr(request, "_cached_user", None) or getattr(request, "_acached_user", None)
    if user is None:
        user = getattr(request, "user", None)
    return None if user is None else user_name("skip", user)
