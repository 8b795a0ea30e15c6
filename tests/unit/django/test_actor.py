"""Who is left out of an event."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import AnonymousUser, User
from django.http import HttpRequest
from django.test import RequestFactory
from twisted.trial.unittest import SynchronousTestCase

from livepush.broker.envelope import Skip
from livepush.django.actor import Caller, skip_of, tab_of


def make_request(method: str = "post", tab: str | None = None, user: Any = None, **kwargs: Any) -> HttpRequest:
    headers = {} if tab is None else {"X-Livepush-Tab": tab}
    request: HttpRequest = getattr(RequestFactory(), method)("/", headers=headers, **kwargs)
    if user is not None:
        request.user = user
    return request


class Wrapper:
    """A request of a framework that wraps Django's."""

    def __init__(self, request: HttpRequest) -> None:
        self._request = request

    def __getattr__(self, name: str) -> Any:
        return getattr(self._request, name)


class SkipTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.anna = User(pk=7, username="anna")

    def test_nobody(self) -> None:
        """Nothing given, nobody left out."""
        self.assertIsNone(skip_of(None))

    def test_user(self) -> None:
        """A user is left out in all his tabs."""
        self.assertEqual(skip_of(self.anna), Skip("7", None))

    def test_request_with_header(self) -> None:
        """fetch and XHR name the tab in a header: only that tab of that user is left out."""
        self.assertEqual(skip_of(make_request(tab="k3f9", user=self.anna)), Skip("7", "k3f9"))
        self.assertEqual(skip_of(Wrapper(make_request(tab="k3f9", user=self.anna))), Skip("7", "k3f9"))

    def test_request_with_field(self) -> None:
        """A form names the tab in a field, whatever its encoding."""
        urlencoded = make_request(
            user=self.anna, data="livepush_tab=k3f9", content_type="application/x-www-form-urlencoded"
        )
        self.assertEqual(skip_of(urlencoded), Skip("7", "k3f9"))
        self.assertEqual(skip_of(make_request(user=self.anna, data={"livepush_tab": "k3f9"})), Skip("7", "k3f9"))

    def test_request_without_tab(self) -> None:
        """Without a tab all of the request's user are left out."""
        self.assertEqual(skip_of(make_request(user=self.anna)), Skip("7", None))

    def test_anonymous(self) -> None:
        """An anonymous visitor never matches others like him: only his tab is left out, if he names one."""
        self.assertIsNone(skip_of(make_request(user=AnonymousUser())))
        self.assertIsNone(skip_of(AnonymousUser()))
        self.assertEqual(skip_of(make_request(tab="k3f9", user=AnonymousUser())), Skip(None, "k3f9"))

    def test_request_without_user(self) -> None:
        """A site without the authentication middleware has requests without users."""
        self.assertIsNone(skip_of(make_request()))

    def test_caller(self) -> None:
        """A call over the page's own connection: only the tab that called, else all of its user's."""
        self.assertEqual(skip_of(Caller(self.anna, "k3f9", "orders")), Skip("7", "k3f9"))
        self.assertEqual(skip_of(Caller(self.anna, None, "orders")), Skip("7", None))
        self.assertEqual(skip_of(Caller(AnonymousUser(), "k3f9", "orders")), Skip(None, "k3f9"))
        self.assertIsNone(skip_of(Caller(AnonymousUser(), None, "orders")))

    def test_user_loaded_in_async_view(self) -> None:
        """What `await request.auser()` has loaded is used."""
        request = make_request()
        request._acached_user = self.anna  # type: ignore[attr-defined]
        self.assertEqual(skip_of(request), Skip("7", None))

    def test_foreign_tab_ids(self) -> None:
        """A tab that can't be one counts as none: too long, empty, with other characters."""
        for tab in ("", "x" * 65, "a b", "a\x00", "é", "<script>"):
            self.assertIsNone(tab_of(make_request(tab=tab)), tab)
            self.assertIsNone(tab_of(make_request(data={"livepush_tab": tab})), tab)

    def test_body_of_others_untouched(self) -> None:
        """A JSON body is not read for the tab, so that the view can stream it."""
        request = make_request(data="{}", content_type="application/json")
        self.assertIsNone(tab_of(request))
        self.assertFalse(hasattr(request, "_post"))
        self.assertEqual(request.read(), b"{}")

    def test_unreadable_form(self) -> None:
        """A form that can't be read names no tab, and doesn't raise here."""
        request = make_request(data=b"x", content_type="multipart/form-data; boundary=")
        self.assertIsNone(tab_of(request))
