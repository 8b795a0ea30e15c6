"""Tests of `exchange.orders.views`: the site's contract with people and tests."""

from __future__ import annotations

import re
from typing import Any

from django.contrib.auth.models import Permission, User
from django.contrib.messages import get_messages
from django.test import Client

from exchange.orders.models import Order
from tests.unit.exchange.case import ExchangeCase

UNKNOWN = 10**30
PATHS = ("/", "/socketio/", "/sockjs/", "/sse/")


def text_of(response: Any) -> str:
    """The page."""
    text: str = response.content.decode()
    return text


def classes_of(response: object, pk: int) -> set[str]:
    """The classes of an order's element on a page."""
    found = re.findall(rf'class="([^"]*\bid_order_row__{pk}\b[^"]*)"', text_of(response))
    assert len(found) == 1, found
    return set(found[0].split())


def buttons_of(response: object, pk: int) -> list[str]:
    """What can be done with an order on a page."""
    return re.findall(rf'action="/orders/{pk}/(\w+)/"', text_of(response))


class PageTests(ExchangeCase):
    """The list."""

    def test_anonymous(self) -> None:
        """Nobody sees the list without logging in."""
        for path in (*PATHS, "/orders/"):
            response = self.browser().get(path)
            self.assertEqual((response.status_code, response["Location"]), (302, f"/accounts/login/?next={path}"))

    def test_guest(self) -> None:
        """Who has no part in the exchange is told why his list is empty, and gets no script."""
        for path in PATHS:
            response = self.browser("guest").get(path)
            self.assertEqual(response.status_code, 200)
            text = response.content.decode()
            self.assertIn("You have no part in the exchange", text)
            self.assertNotIn("id_order_row__", text)
            self.assertNotIn("<script", text)

    def test_eight_orders(self) -> None:
        """Clients and moderators see eight orders, each once, open, with the buttons they may use."""
        for name in ("anna", "boris", "mod", "admin"):
            response = self.browser(name).get("/")
            for order in Order.objects.all():
                self.assertEqual(classes_of(response, order.pk), {"order-row", f"id_order_row__{order.pk}"})
                self.assertEqual(buttons_of(response, order.pk), ["lock", "done"])
        self.assertEqual(Order.objects.count(), 8)

    def test_ways(self) -> None:
        """Each page leads to the others, says which it is, and has its own script and client after the tab's."""
        scripts = {
            "/": ["livepush/livepush", "exchange/orders", "exchange/native"],
            "/socketio/": [
                "livepush/livepush",
                "exchange/vendor/socket.io.min",
                "exchange/orders",
                "exchange/socketio",
            ],
            "/sockjs/": ["livepush/livepush", "exchange/vendor/sockjs.min", "exchange/orders", "exchange/sockjs"],
            "/sse/": ["livepush/livepush", "exchange/orders", "exchange/sse"],
        }
        for path, expected in scripts.items():
            text = text_of(self.browser("anna").get(path))
            self.assertEqual(re.findall(r'<script src="/static/(\S+)\.js" defer>', text), expected)
            self.assertEqual(re.findall(r'class="ways__link" href="([^"]+)"', text), list(PATHS))
            self.assertEqual(re.findall(r'href="([^"]+)" aria-current="page"', text), [path])
            self.assertIn('data-push="8989" data-push-url=""', text)
            self.assertEqual("livepush-config" in text, path == "/")

    def test_moderator_without_lock(self) -> None:
        """Who may only moderate has no button to lock."""
        only = User.objects.create(username="only")
        only.user_permissions.add(Permission.objects.get(codename="delete_order"))
        self.assertEqual(buttons_of(self.browser("only").get("/"), Order.objects.all()[0].pk), ["done"])

    def test_locked(self) -> None:
        """A locked row says so to all; only who has locked it and a moderator can finish it, nobody can lock it."""
        order = Order.objects.all()[0]
        order.lock(self.user("anna"))
        for name, buttons in (("anna", ["done"]), ("boris", []), ("mod", ["done"]), ("admin", ["done"])):
            for path in ("/", "/orders/"):
                response = self.browser(name).get(path)
                self.assertIn("order-row_is_locked", classes_of(response, order.pk))
                self.assertEqual("order-row_is_mine" in classes_of(response, order.pk), name == "anna")
                self.assertEqual(buttons_of(response, order.pk), buttons)

    def test_done(self) -> None:
        """A finished row is hidden from clients and marked for moderators, without buttons or a trace of the lock."""
        order = Order.objects.all()[0]
        order.lock(self.user("anna"))
        order.done(self.user("anna"), any_lock=False)
        row = {"order-row", f"id_order_row__{order.pk}"}
        for name, mark in (
            ("anna", "hidden"),
            ("boris", "hidden"),
            ("mod", "order-row_is_done"),
            ("admin", "order-row_is_done"),
        ):
            response = self.browser(name).get("/")
            self.assertEqual(classes_of(response, order.pk), row | {mark})
            self.assertEqual(buttons_of(response, order.pk), [])

    def test_nothing_left(self) -> None:
        """A client whose orders are all done is told so; a moderator still has them to look at."""
        Order.objects.update(status="done")
        empty = '<p class="empty" id="empty">'
        self.assertIn(empty, self.browser("anna").get("/").content.decode())
        self.assertNotIn(empty, self.browser("mod").get("/").content.decode())

    def test_rows_keep_messages(self) -> None:
        """A page that loads its rows again takes no message away from the page that it was meant for."""
        anna = self.browser("anna")
        order = Order.objects.all()[0]
        order.done(self.user("boris"), any_lock=False)
        self.post(anna, f"/orders/{order.pk}/lock/")
        self.assertNotIn("already done", anna.get("/orders/").content.decode())
        self.assertIn(f"Order {order.pk} is already done.", anna.get("/").content.decode())

    def test_not_cached(self) -> None:
        """No cache shows one user's list to the next, nor an old one after the back button."""
        for path in (*PATHS, "/orders/"):
            self.assertIn("no-store", self.browser("anna").get(path)["Cache-Control"])


class ActionTests(ExchangeCase):
    """Locking and finishing by form posts."""

    def setUp(self) -> None:
        super().setUp()
        self.order = Order.objects.all()[0]
        self.lock, self.done = (f"/orders/{self.order.pk}/{what}/" for what in ("lock", "done"))

    def assert_back(self, client: Client, path: str, messages: list[str]) -> None:
        """The post leads back to the list, with these messages."""
        response = self.post(client, path)
        self.assertEqual((response.status_code, response["Location"]), (302, "/"))
        page = client.get("/")
        self.assertEqual([str(message) for message in get_messages(page.wsgi_request)], messages)

    def test_lock_and_done(self) -> None:
        """A client locks an order and finishes it, without a word of warning, and both are told."""
        anna = self.browser("anna")
        self.assert_back(anna, self.lock, [])
        self.assert_back(anna, self.done, [])
        data = {"order": self.order.pk, "user": self.user("anna").pk}
        lock, done = {**data, "version": 2}, {**data, "version": 3, "action": "hide"}
        self.assertEqual(self.published.seen("client"), [("lock", lock), ("done", done)])

    def test_refused(self) -> None:
        """What the state does not allow leads back with a message, and nobody is told."""
        self.order.lock(self.user("anna"))
        taken = f"Somebody else has locked order {self.order.pk}."
        self.assert_back(self.browser("boris"), self.lock, [taken])
        self.assert_back(self.browser("boris"), self.done, [taken])
        self.assert_back(self.browser("mod"), self.lock, [taken])
        self.assert_back(self.browser("anna"), self.lock, [f"You have already locked order {self.order.pk}."])
        self.assertEqual(self.published.bodies, [])

    def test_moderator_finishes_any(self) -> None:
        """A moderator finishes what somebody else has locked."""
        self.order.lock(self.user("anna"))
        self.assert_back(self.browser("mod"), self.done, [])
        self.assertEqual([kind for kind, _ in self.published.seen("moderator")], ["done"])

    def test_forbidden(self) -> None:
        """Without permission it is 403, for known and unknown orders alike, logged in or not."""
        for client in (self.browser("guest"), self.browser()):
            for path in (self.lock, self.done, f"/orders/{UNKNOWN}/lock/", "/orders/999/done/"):
                self.assertEqual(self.post(client, path).status_code, 403)
        self.assertEqual(Order.objects.get(pk=self.order.pk).version, 1)

    def test_moderator_without_lock(self) -> None:
        """Who may only moderate is refused a lock."""
        only = User.objects.create(username="only")
        only.user_permissions.add(Permission.objects.get(codename="delete_order"))
        self.assertEqual(self.post(self.browser("only"), self.lock).status_code, 403)
        self.assertEqual(self.post(self.browser("only"), self.done).status_code, 302)

    def test_unknown(self) -> None:
        """An unknown order is 404, also one whose number no database could hold."""
        for pk in (0, 999, UNKNOWN):
            for what in ("lock", "done"):
                self.assertEqual(self.post(self.browser("mod"), f"/orders/{pk}/{what}/").status_code, 404)

    def test_post_only(self) -> None:
        """A link changes nothing."""
        self.assertEqual(self.browser("anna").get(self.lock).status_code, 405)
        self.assertEqual(self.browser("anna").get(self.done).status_code, 405)

    def test_csrf(self) -> None:
        """A form of another site changes nothing."""
        anna = Client(enforce_csrf_checks=True)
        anna.force_login(self.user("anna"))
        response = anna.post(self.lock)
        self.assertEqual(response.status_code, 403)
        self.assertIn("The form is out of date", response.content.decode())

    def test_back_to_the_page(self) -> None:
        """A form leads back to the page that it stood on, as it was asked for, and nowhere else."""
        anna = self.browser("anna")
        for path in ("/socketio/", "/sockjs/?transports=xhr-polling"):
            (following,) = set(re.findall(r'name="next" value="([^"]+)"', text_of(anna.get(path))))
            self.assertEqual(following, path)
            self.assertEqual(self.post(anna, self.lock, next=path)["Location"], path)
            (rows,) = re.findall(r'data-rows="([^"]+)"', text_of(anna.get(path)))
            self.assertIn(f'name="next" value="{path}"', text_of(anna.get(rows)))
        for foreign in ("https://example.org/", "//example.org/", "javascript:alert(1)", "http://[", ""):
            self.assertEqual(self.post(anna, self.lock, next=foreign)["Location"], "/")

    def test_skip(self) -> None:
        """The tab that acted is left out; without its id, the user."""
        anna, pk = self.browser("anna"), str(self.user("anna").pk)
        self.post(anna, self.lock, livepush_tab="k3f9")
        self.post(anna, self.done)
        self.assertEqual(
            [body["skip"] for body in self.published.bodies], [{"user": pk, "tab": "k3f9"}, {"user": pk, "tab": None}]
        )


class AccountTests(ExchangeCase):
    """Logging in and out."""

    def test_log_in(self) -> None:
        """The form leads to the list."""
        for name in ("anna", "boris", "mod", "guest", "admin"):
            client = self.browser()
            response = client.post("/accounts/login/", {"username": name, "password": "livepush"})
            self.assertEqual((response.status_code, response["Location"]), (302, "/"))
            self.assertContains(client, name)

    def assertContains(self, client: Client, name: str) -> None:
        """The page says who is logged in."""
        self.assertIn(f'<span class="visually-hidden">Logged in as </span>{name}', client.get("/").content.decode())

    def test_wrong_password(self) -> None:
        """A wrong password is told, on the site's own page."""
        response = self.browser().post("/accounts/login/", {"username": "anna", "password": "no"})
        self.assertEqual(response.status_code, 200)
        self.assertIn("Please enter a correct username and password", response.content.decode())

    def test_log_out(self) -> None:
        """Logging out is a post and leads to the login page; a link does not log out."""
        anna = self.browser("anna")
        self.assertEqual(anna.get("/accounts/logout/").status_code, 405)
        response = anna.post("/accounts/logout/")
        self.assertEqual((response.status_code, response["Location"]), (302, "/"))
        self.assertEqual(anna.get("/").status_code, 302)


class PeopleTests(ExchangeCase):
    """The names of those who look at the list."""

    def test_names(self) -> None:
        """Who has a part in the exchange is told the names of users, fifty at a time, and what is none is nobody."""
        anna, mod = self.user("anna"), self.user("mod")
        asked = f"?user={anna.pk}&user={mod.pk}&user=x&user=-1&user={UNKNOWN}&user=999999&user="
        response = self.browser("anna").get(f"/orders/people/{asked}")
        self.assertEqual(response.json(), {str(anna.pk): "anna", str(mod.pk): "mod"})
        crowd = "&".join(f"user={pk}" for pk in [*range(1000, 1050), anna.pk])
        self.assertEqual(self.browser("anna").get(f"/orders/people/?{crowd}").json(), {})

    def test_others(self) -> None:
        """Nobody else is."""
        self.assertEqual(self.browser("guest").get("/orders/people/?user=1").status_code, 403)
        self.assertEqual(self.browser().get("/orders/people/?user=1").status_code, 302)


class AdminTests(ExchangeCase):
    """Django's admin."""

    def test_list_and_edit(self) -> None:
        """An edit of what is traded raises the version and leaves the state alone."""
        admin = self.browser("admin")
        order = Order.objects.all()[0]
        self.assertEqual(admin.get("/admin/orders/order/").status_code, 200)
        fields = {"side": "buy", "title": "Spelt", "quantity": "7", "unit": "t", "price": "300.00"}
        response = self.post(admin, f"/admin/orders/order/{order.pk}/change/", **fields)
        self.assertEqual(response.status_code, 302)
        order.refresh_from_db()
        self.assertEqual((order.title, order.version, order.status), ("Spelt", 2, "open"))

    def test_actions(self) -> None:
        """Finishing and freeing in the admin are told as on the site; what is done already is said."""
        admin = self.browser("admin")
        first, second, third = Order.objects.all()[:3]
        first.lock(self.user("anna"))
        second.done(self.user("anna"), any_lock=False)
        admin.post("/admin/orders/order/", {"action": "free", "_selected_action": [first.pk, third.pk]})
        with self.committing():
            path, selected = "/admin/orders/order/", [first.pk, second.pk]
            response = admin.post(path, {"action": "finish", "_selected_action": selected}, follow=True)
        self.assertIn(f"Order {second.pk} is already done.", response.content.decode())
        self.assertEqual([kind for kind, _ in self.published.seen("client")], ["done"])
        self.assertEqual(Order.objects.get(pk=first.pk).status, "done")
