"""What a person does in a real browser, as scenarios that print what the page saw: `browse.py SCENARIO ORIGIN`.

Playwright's synchronous interface blocks, so this runs in a process of its own beside the reactor that serves the site.
"""

from __future__ import annotations

import functools
import json
import sys
import urllib.request
from collections.abc import Callable
from typing import Any

from playwright.sync_api import BrowserContext, ConsoleMessage, Error, Page, sync_playwright

CHROMIUM = "/usr/bin/chromium"
ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
ONLINE = "() => globalThis.livepush && livepush.status.state === 'online'"
TAB = "() => livepush.tab"


class Shop:
    """The site's remote control."""

    def __init__(self, origin: str) -> None:
        self.origin = origin

    def control(self, what: str) -> bytes:
        with urllib.request.urlopen(f"{self.origin}/control/{what}", timeout=20) as answer:
            return bytes(answer.read())

    def log(self) -> dict[str, list[dict[str, Any]]]:
        log: dict[str, list[dict[str, Any]]] = json.loads(self.control("log"))
        return log

    def visit(self, page: Page, path: str = "/page") -> str:
        """Goes there, waits until the page is connected, and returns its tab."""
        page.goto(self.origin + path)
        return connected(page)


def connected(page: Page) -> str:
    page.wait_for_function(ONLINE)
    return str(page.evaluate(TAB))


def heard(page: Page, what: str) -> None:
    """Waits until the page's own script has heard this."""
    page.wait_for_function("what => heard.some((entry) => entry.join(' ').startsWith(what))", arg=what)


def complain(to: list[str], what: ConsoleMessage | Error) -> None:
    to.append(what.text if isinstance(what, ConsoleMessage) else what.message)


def forms(context: BrowserContext, shop: Shop) -> object:
    """Posts forms in every way there is, and comes to a new page each time."""
    page = context.new_page()
    tabs = [shop.visit(page)]
    for press in (
        "document.querySelector('#send').click()",
        "document.querySelector('#upload').requestSubmit()",
        "document.querySelector('#plain').submit()",
    ):
        with page.expect_navigation(url="**/page"):
            page.evaluate(f"setTimeout(() => {{ {press} }}, 0)")
        tabs.append(connected(page))
    kept = page.evaluate("() => sessionStorage.length")
    return {"tabs": tabs, "kept": kept, **shop.log()}


def foreign_forms(context: BrowserContext, shop: Shop) -> object:
    """Posts forms to another origin: by the form's own address and by the button's."""
    page = context.new_page()
    for button in ("#foreign button", "#away"):
        shop.visit(page)
        with page.expect_navigation(url="**/orders/**"):
            page.click(button)
    return shop.log()


def duplicate(context: BrowserContext, shop: Shop) -> object:
    """Opens a second tab that gets a copy of the first one's session storage, as `Duplicate tab` does."""
    page = context.new_page()
    tab = shop.visit(page)
    page.reload()  # now it is a page that was handed its id by the one before
    connected(page)
    page.evaluate("() => sessionStorage.setItem('probe', 'copied')")
    with context.expect_page() as opened:
        page.evaluate("() => void window.open('/page')")
    copy = connected(opened.value)
    probe = opened.value.evaluate("() => sessionStorage.getItem('probe')")
    page.reload()
    return {"tab": tab, "copy": copy, "probe": probe, "reloaded": connected(page)}


def requests(context: BrowserContext, shop: Shop) -> object:
    """fetch and XMLHttpRequest, to the page's origin and to another."""
    page = context.new_page()
    tab = shop.visit(page)
    page.evaluate(
        """async (elsewhere) => {
            const xhr = (method, url) => new Promise((done) => {
                const request = new XMLHttpRequest();
                request.onloadend = done;
                request.open(method, url);
                request.send("x");
            });
            await fetch("/orders/fetch", { method: "POST", body: "x" });
            await fetch(new Request("/orders/request", { method: "POST", body: "x" }));
            await xhr("POST", "/orders/xhr");
            await fetch("/orders/get");
            await fetch(elsewhere + "/orders/fetch", { method: "POST", body: "x" });
            await xhr("POST", elsewhere + "/orders/xhr");
        }""",
        shop.origin.replace("127.0.0.1", "localhost"),
    )
    return {"tab": tab, **shop.log()}


def server_goes(context: BrowserContext, shop: Shop) -> object:
    """The daemon goes and comes back, with an event before and after."""
    page = context.new_page()
    shop.visit(page)
    shop.control("push?n=1")
    heard(page, "lock")
    shop.control("go")
    page.wait_for_function("() => livepush.status.state === 'waiting' && livepush.status.attempt > 2")
    page.evaluate("() => heard.push(['return'])")
    shop.control("return")
    connected(page)
    heard(page, "resync")
    shop.control("push?n=1")
    shop.control("push?n=2")
    page.wait_for_function("() => heard.filter((entry) => entry[0] === 'lock').length > 1")
    return {"heard": page.evaluate("() => heard"), **shop.log()}


def refused(context: BrowserContext, shop: Shop) -> object:
    """The server ends the connection with 4401. The greatest wait of this page is 100 ms."""
    page = context.new_page()
    shop.visit(page)
    shop.control("end")
    page.wait_for_function("() => livepush.status.state === 'closed'")
    page.wait_for_timeout(500)
    return {"status": page.evaluate("() => livepush.status"), **shop.log()}


def strict(context: BrowserContext, shop: Shop) -> object:
    """The classic script and the module on pages that allow nothing but the site itself."""
    seen = []
    for path in ("/strict", "/strict-module"):
        page = context.new_page()
        complaints: list[str] = []
        page.on("console", functools.partial(complain, complaints))
        page.on("pageerror", functools.partial(complain, complaints))
        shop.visit(page, path)
        shop.control("push?n=1")
        heard(page, "lock")
        seen.append({"heard": page.evaluate("() => heard"), "complaints": complaints})
        page.close()
    return seen


def module(context: BrowserContext, shop: Shop) -> object:
    """A page with the module, and one with the classic script as well."""
    seen = []
    for path in ("/module", "/both"):
        page = context.new_page()
        before = len(shop.log()["hellos"])
        shop.visit(page, path)
        page.wait_for_load_state()
        shop.control("push?n=1")
        heard(page, "lock")
        same = page.evaluate("async () => (await import('/static/livepush.mjs')).default === livepush")
        seen.append({"same": same, "connections": len(shop.log()["hellos"]) - before})
        page.close()
    return seen


def back_button(context: BrowserContext, shop: Shop) -> object:
    """Leaves the page by a link and comes back by the back button."""
    page = context.new_page()
    tab = shop.visit(page)
    page.click("#next")
    page.wait_for_url("**/next")
    left = page.evaluate("() => Object.keys(sessionStorage)")
    page.evaluate("() => history.back()")
    page.wait_for_url("**/page", wait_until="commit")  # a page out of the cache is not loaded again
    heard(page, "resync")
    kept = page.evaluate("() => sessionStorage.length")
    return {"tab": tab, "back": connected(page), "left": left, "kept": kept, "heard": page.evaluate("() => heard")}


SCENARIOS: dict[str, Callable[[BrowserContext, Shop], object]] = {
    each.__name__: each
    for each in (forms, foreign_forms, duplicate, requests, server_goes, refused, strict, module, back_button)
}


def main() -> None:
    """Runs one scenario and prints what it returns."""
    scenario, origin = SCENARIOS[sys.argv[1]], sys.argv[2]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=ARGS, ignore_default_args=["--disable-back-forward-cache"]
        )
        context = browser.new_context()
        context.set_default_timeout(30_000)
        print(json.dumps(scenario(context, Shop(origin))))
        browser.close()


if __name__ == "__main__":
    main()
