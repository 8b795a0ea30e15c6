"""The pages, and the two things that can be done with an order: ordinary form posts that redirect."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from django.contrib import messages
from django.contrib.auth import get_user_model
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import AbstractUser
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from exchange.orders.models import Order, Refused
from exchange.orders.row import MODERATOR, audience_of, rows_for
from livepush.django.conf import conf

PEOPLE = 50


@dataclass(frozen=True, slots=True)
class Way:
    """One way to be pushed to, with a page that uses it.

    Attributes:
        name: of the page's address; its template has the same.
        label: for people.
    """

    name: str
    label: str

    @property
    def path(self) -> str:
        """The page's address."""
        return reverse(self.name)


WAYS = (
    Way("native", "WebSocket"),
    Way("socketio", "Socket.IO"),
    Way("sockjs", "SockJS"),
    Way("sse", "EventSource"),
)


@never_cache
@require_safe
@login_required
def page(request: HttpRequest, way: str) -> HttpResponse:
    """The list of orders, by one of the ways."""
    push = {"push_port": conf().port, "push_url": conf().url or ""}
    context = {**_context(request, request.get_full_path()), "ways": WAYS, **push}
    return render(request, f"orders/{way}.html", context)


@never_cache
@require_safe
@login_required
def rows(request: HttpRequest) -> HttpResponse:
    """Only the rows, for a page that has missed something. Leaves messages for the next whole page."""
    return render(request, "orders/rows.html", _context(request, _next(request.GET.get("next"))))


@never_cache
@require_safe
@login_required
def people(request: HttpRequest) -> JsonResponse:
    """The names of users, for those who see the list and who looks at it: 403 for others; `PEOPLE` a request."""
    if audience_of(_user(request)) is None:
        raise PermissionDenied
    asked = [int(text) for text in request.GET.getlist("user") if text.isascii() and text.isdigit() and len(text) < 19]
    users = get_user_model().objects.filter(pk__in=asked[:PEOPLE])
    return JsonResponse({str(user.pk): user.get_username() for user in users})


@require_POST
def lock(request: HttpRequest, pk: int) -> HttpResponse:
    """Lock an open order: 403 without `orders.lock_order`, 404 if unknown, else back to the list."""
    if not _user(request).has_perm("orders.lock_order"):
        raise PermissionDenied
    return _act(request, pk, lambda order: order.lock(_user(request), request))


@require_POST
def done(request: HttpRequest, pk: int) -> HttpResponse:
    """Finish an order: 403 for who has no part in the exchange, 404 if unknown, else back to the list."""
    audience = audience_of(_user(request))
    if audience is None:
        raise PermissionDenied
    any_lock = audience == MODERATOR
    return _act(request, pk, lambda order: order.done(_user(request), any_lock=any_lock, request=request))


def _act(request: HttpRequest, pk: int, action: Callable[[Order], None]) -> HttpResponse:
    try:
        action(Order.objects.get(pk=pk))
    except Order.DoesNotExist as error:
        raise Http404 from error
    except Refused as refusal:
        messages.warning(request, str(refusal))
    return HttpResponseRedirect(_next(request.POST.get("next")))


def _next(asked: str | None) -> str:
    """The page to go to: the one that the form names, if it is of this site."""
    return asked if asked and url_has_allowed_host_and_scheme(asked, None) else reverse("native")


def _user(request: HttpRequest) -> AbstractUser:
    return cast(AbstractUser, request.user)


def _context(request: HttpRequest, following: str) -> dict[str, Any]:
    user = _user(request)
    rows = rows_for(user)
    return {
        "audience": audience_of(user),
        "may_lock": user.has_perm("orders.lock_order"),
        "next": following,
        "rows": rows,
        "nothing_to_see": all(row.hidden for row in rows),
    }
