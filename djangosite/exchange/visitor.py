"""Somebody with a browser, without the browser: cookies, forms and what the page shows of the orders."""

from __future__ import annotations

import re
import urllib.error
import urllib.parse
import urllib.request
from http.cookiejar import CookieJar

from exchange.listener import Listener

SESSION_COOKIE = "livepush_demo_sessionid"
TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')


class Visitor:
    """A user of the demo at one page.

    Attributes:
        name: of the user.
    """

    def __init__(self, url: str, name: str, password: str) -> None:
        """Log in.

        Args:
            url: the site's origin.
            name: of the user.
            password: of the user.

        Raises:
            OSError: the site does not answer (`urllib.error.URLError`).
        """
        self.name, self._url = name, url
        self._cookies = CookieJar()
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self._cookies))
        self._post("/accounts/login/", username=name, password=password)

    def page(self) -> str:
        """The list, as HTML."""
        return self._open("/")[1]

    def classes(self, order: int) -> set[str]:
        """The classes of an order's element; empty if the page does not show it."""
        found = re.search(rf'class="([^"]*\bid_order_row__{order}\b[^"]*)"', self.page())
        return set(found[1].split()) if found else set()

    def orders(self) -> list[int]:
        """The orders on the page."""
        return [int(pk) for pk in re.findall(r"\bid_order_row__(\d+)\b", self.page())]

    def act(self, order: int | str, what: str, tab: str = "") -> tuple[int, str]:
        """Press a button: status and page that the browser ends up with."""
        return self._post(f"/orders/{order}/{what}/", livepush_tab=tab)

    def listen(self, port: int, tab: str) -> Listener:
        """What the page's script does: connect to the daemon with the page's cookies."""
        sent = "; ".join(f"{cookie.name}={cookie.value}" for cookie in self._cookies)
        return Listener(port, self._url, sent, tab)

    @property
    def logged_in(self) -> bool:
        """Whether the site has given a session."""
        return any(cookie.name == SESSION_COOKIE for cookie in self._cookies)

    def _post(self, path: str, **fields: str) -> tuple[int, str]:
        # Every page has a form with a token: to log in, or to log out.
        token = TOKEN.search(self._open("/")[1])
        data = urllib.parse.urlencode({**fields, "csrfmiddlewaretoken": token[1] if token else ""}).encode()
        return self._open(path, data)

    def _open(self, path: str, data: bytes | None = None) -> tuple[int, str]:
        try:
            with self._opener.open(self._url + path, data, timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
