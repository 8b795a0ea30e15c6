"""What happens to a page with a stock EventSource: `browse.py SCENARIO ORIGIN ORIGIN` prints what it heard."""

from __future__ import annotations

import json
import sys
import urllib.request
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Page, sync_playwright

from tests.integration.browser_client.browse import ARGS, CHROMIUM


class Visit:
    """A page of a browser, and the site's remote control."""

    def __init__(self, page: Page, origin: str, other: str) -> None:
        self.page, self.origin, self.other = page, origin, other

    def control(self, *what: str) -> Any:
        """Tells the site what to do; what it has seen by then."""
        for each in what:
            with urllib.request.urlopen(f"{self.origin}/control/{each}", timeout=20) as answer:
                seen = json.load(answer)
        return seen

    def welcomes(self, count: int) -> None:
        """Waits until the page has been welcomed so many times."""
        self.page.wait_for_function("n => heard.filter((each) => each.op === 'welcome').length >= n", arg=count)

    def seen(self) -> dict[str, Any]:
        """What the page heard and knows, and what the site has seen of it."""
        script = "() => ({heard, ids, errors, state: source.readyState})"
        return {**self.page.evaluate(script), **self.control("look")}


def comes_back(visit: Visit) -> None:
    """The stream is cut and is ended, and things happen while the page is away."""
    visit.page.goto(f"{visit.origin}/page")
    visit.welcomes(1)
    visit.control("orders", "texts", "cut", "news", "orders", "news")
    visit.welcomes(2)
    visit.control("orders", "end", "news")
    visit.welcomes(3)


def of_another_origin(visit: Visit) -> None:
    """The stream is at another port than the page."""
    visit.page.goto(f"{visit.origin}/page?at={visit.other}")
    visit.welcomes(1)
    visit.control("orders", "cut", "news")
    visit.welcomes(2)


def of_a_foreign_page(visit: Visit) -> None:
    """The page is one that the daemon does not trust."""
    visit.page.goto(f"{visit.origin.replace('127.0.0.1', 'localhost')}/page?at={visit.other}")
    visit.page.wait_for_function("() => source.readyState === 2")


def heartbeats(visit: Visit) -> None:
    """Something happens that is not for this page, and a heartbeat follows."""
    visit.page.goto(f"{visit.origin}/page")
    visit.welcomes(1)
    visit.control("user.9", "beat", "end")
    visit.welcomes(2)


def logged_out(visit: Visit) -> None:
    """The login ends while the page is away."""
    visit.page.goto(f"{visit.origin}/page")
    visit.welcomes(1)
    visit.control("logout", "cut")
    visit.page.wait_for_function("() => source.readyState === 2")


def not_ready(visit: Visit) -> None:
    """The process has no broker for a while."""
    visit.control("unready")
    visit.page.goto(f"{visit.origin}/page")
    visit.page.wait_for_function("() => errors > 2")
    visit.control("ready")
    visit.welcomes(1)


SCENARIOS: dict[str, Callable[[Visit], None]] = {
    each.__name__: each
    for each in (comes_back, of_another_origin, of_a_foreign_page, heartbeats, logged_out, not_ready)
}


def main() -> None:
    """Runs one scenario and prints what was seen."""
    scenario, origin, other = SCENARIOS[sys.argv[1]], *sys.argv[2:]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGS)
        context = browser.new_context()
        context.set_default_timeout(30_000)
        visit = Visit(context.new_page(), origin, other)
        scenario(visit)
        print(json.dumps(visit.seen()))
        browser.close()


if __name__ == "__main__":
    main()
