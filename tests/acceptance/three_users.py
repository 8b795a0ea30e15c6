"""Three users and a guest at the demo in a real Chromium, by clicking.

    python -m tests.acceptance.three_users URL DIR

Playwright's synchronous interface blocks, so this is a process of its own. It writes a screenshot of each step into
DIR, prints the steps, and ends with an `AssertionError` or a Playwright error at the first thing that is not as it
should be. The demo must be fresh, and free no locks by itself.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Locator, Page, expect, sync_playwright

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATIENCE_MS = 30_000
LIVE = '#connection[data-status="live"]'
LOCKED, MINE, DONE, HIDDEN = "order-row_is_locked", "order-row_is_mine", "order-row_is_done", "hidden"
SCRIPTED = """
"use strict";
window.heard = {};
window.livepush = {
  on(channel, type, callback) { heard[type] = callback; },
  onResync(channel, callback) { window.resync = callback; },
  onStatus() {},
};
"""
"""What one page gets for livepush.js: nothing comes to it but what it is told."""

TELEPHONE = {"width": 390, "height": 760}
DESKTOP = {"width": 1100, "height": 820}


class Person:
    """A user with a browser of his own."""

    def __init__(self, context: BrowserContext, url: str, name: str, faults: list[str]) -> None:
        self.context, self.name, self._url, self._faults = context, name, url, faults
        self.page = self.tab()
        self.page.goto(f"{url}/")
        self.page.get_by_label("User name").fill(name)
        self.page.get_by_label("Password").fill("livepush")
        self.page.get_by_role("button", name="Log in").click()
        self.page.wait_for_url(f"{url}/")

    def tab(self) -> Page:
        """Another tab; what its console says is a fault."""
        page = self.context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on("pageerror", lambda error: self._faults.append(f"{self.name}: {error}"))
        page.on("console", self._hear)
        return page

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self._faults.append(f"{self.name}: {message.text} at {message.location['url']}")

    def watch(self, page: Page | None = None) -> None:
        """Wait until the page is live, and mark it: `stayed` sees a reload."""
        page = page or self.page
        page.locator(LIVE).wait_for()
        page.evaluate("document.body.dataset.stayed = 'yes'")

    def stayed(self, page: Page | None = None) -> None:
        """The page has not been loaded again since `watch`."""
        assert (page or self.page).evaluate("document.body.dataset.stayed") == "yes", f"{self.name}'s page was reloaded"

    def row(self, order: int, page: Page | None = None) -> Locator:
        """An order's row."""
        return (page or self.page).locator(f".id_order_row__{order}")

    def classes(self, order: int) -> set[str]:
        """Of the row, without the passing one of the flash."""
        return set((self.row(order).get_attribute("class") or "").split()) - {"order-row_has_changed"}

    def sees(self, order: int, *marks: str, buttons: tuple[str, ...] = (), page: Page | None = None) -> None:
        """The row comes to bear these marks and no other, and these buttons."""
        row = self.row(order, page)
        for mark in (LOCKED, MINE, DONE, HIDDEN):
            if mark in marks:
                expect(row).to_contain_class(mark)
            else:
                expect(row).not_to_contain_class(mark)
        expect(row.get_by_role("button")).to_have_text(list(buttons))
        if HIDDEN in marks:
            expect(row).to_be_hidden(timeout=PATIENCE_MS)
        else:
            expect(row).to_be_visible(timeout=PATIENCE_MS)

    def press(self, order: int, button: str) -> None:
        """Click a button of a row, and wait for the page that follows."""
        with self.page.expect_navigation():
            self.row(order).get_by_role("button").get_by_text(button).click()
        self.watch()


class Visit:
    """The whole story."""

    def __init__(self, browser: Browser, url: str, folder: Path) -> None:
        self._browser, self._url, self._folder = browser, url, folder
        self.faults: list[str] = []
        self._steps = 0

    def person(self, name: str, viewport: dict[str, int] = DESKTOP, script: bool = True) -> Person:
        """Somebody who logs in."""
        context = self._browser.new_context(viewport=viewport, java_script_enabled=script)  # type: ignore[arg-type]
        return Person(context, self._url, name, self.faults)

    @contextmanager
    def step(self, what: str, *people: Person) -> Iterator[None]:
        """One step, with a screenshot of these people's pages at its end, also at a bad one."""
        self._steps += 1
        print(f"{self._steps}. {what}", flush=True)
        try:
            yield
        finally:
            for person in people:
                person.page.screenshot(path=self._folder / f"{self._steps:02}-{person.name}.png")

    def run(self) -> None:
        """All steps."""
        people = [self.person(name) for name in ("anna", "boris", "mod")]
        anna, boris, mod = people
        both = ("Lock", "Done")

        with self.step("Three users see eight open orders", *people):
            for person in people:
                person.watch()
                expect(person.page.locator(".order-row")).to_have_count(8)
                person.sees(1, buttons=both)

        other = anna.tab()
        other.goto(self._url)
        anna.watch(other)
        with self.step("anna locks order 1: the others' pages change, and so does her other tab", *people):
            anna.press(1, "Lock")
            anna.sees(1, LOCKED, MINE, buttons=("Done",))
            anna.sees(1, LOCKED, MINE, buttons=("Done",), page=other)
            boris.sees(1, LOCKED)
            mod.sees(1, LOCKED, buttons=("Done",))
            expect(boris.page.locator("#latest")).to_contain_text("Order 1 was locked by somebody else")
            expect(other.locator("#latest")).to_contain_text("by you, in another window")
            expect(anna.page.locator("#latest")).to_have_text("")

        with self.step("anna finishes order 1: it leaves the clients' lists, the moderator sees it marked", *people):
            anna.press(1, "Done")
            anna.sees(1, HIDDEN)
            anna.sees(1, HIDDEN, page=other)
            boris.sees(1, HIDDEN)
            mod.sees(1, DONE)

        with self.step("mod finishes what boris has locked", *people):
            boris.stayed()
            boris.press(2, "Lock")
            mod.sees(2, LOCKED, buttons=("Done",))
            mod.stayed()
            mod.press(2, "Done")
            anna.sees(2, HIDDEN)
            boris.sees(2, HIDDEN)
            mod.sees(2, DONE)

        admin = self.person("admin")
        with self.step("admin frees in Django's admin what boris has locked", *people, admin):
            boris.press(3, "Lock")
            anna.sees(3, LOCKED)
            admin.page.get_by_role("link", name="Admin").click()
            admin.page.get_by_role("link", name="Orders", exact=True).nth(1).click()
            admin.page.get_by_role("row", name="Rapeseed").get_by_role("checkbox").check()
            admin.page.get_by_label("Action:").select_option("free")
            admin.page.locator("button[name=index]").click()
            expect(admin.page.locator(".messagelist")).to_contain_text("1 freed.")
            for person in people:
                person.sees(3, buttons=both)
                expect(person.page.locator("#latest")).to_contain_text("Order 3 is free again")

        with self.step("a reload shows what the pushes have made of the pages", *people):
            boris.press(4, "Lock")
            for person in people:
                person.sees(4, LOCKED, *((MINE,) if person is boris else ()), buttons=self._done_of(person, boris))
            for person in people:
                before = [person.classes(order) for order in range(1, 9)]
                person.page.reload()
                assert before == [person.classes(order) for order in range(1, 9)], person.name
                person.watch()

        with self.step("a page that was away takes over what it has missed, without a reload", anna):
            anna.page.evaluate("livepush.close()")
            expect(anna.page.locator("#connection")).to_contain_text("Not live")
            boris.press(5, "Lock")
            anna.sees(5, buttons=both)
            anna.page.evaluate("livepush.connect()")
            anna.sees(5, LOCKED)
            anna.stayed()

        late = mod.tab()
        late.route("**/livepush.js", lambda route: route.fulfill(body=SCRIPTED, content_type="text/javascript"))
        late.goto(self._url)
        with self.step("events that come late and out of order do not undo later ones", mod):
            self._tell(late, "lock", 4, version=99, user=0)
            mod.sees(4, LOCKED, buttons=("Done",), page=late)
            self._tell(late, "free", 4, version=98)
            self._tell(late, "done", 4, version=99, action="highlight", user=0)
            mod.sees(4, LOCKED, buttons=("Done",), page=late)
            self._tell(late, "free", 4, version=100)
            mod.sees(4, buttons=both, page=late)
            # What the site says now is older than that, and is news of order 8 only.
            mod.press(8, "Done")
            late.evaluate("resync('orders', 'restart')")
            mod.sees(8, DONE, page=late)
            mod.sees(4, buttons=both, page=late)

        telephone = self.person("boris", TELEPHONE)
        with self.step("on a telephone", telephone):
            telephone.watch()
            card = telephone.page.locator(".card").bounding_box()
            assert card, "no card"
            for button in telephone.page.locator(".card .button:visible").all():
                box = button.bounding_box()
                assert box, "no button"
                assert box["x"] + box["width"] <= card["x"] + card["width"], (card, box)

        guest = self.person("guest")
        with self.step("the guest is told why he sees nothing", guest):
            expect(guest.page.locator("main")).to_contain_text("You have no part in the exchange")

        plain = self.person("boris", script=False)
        with self.step("without JavaScript it is a classic page", plain):
            plain.row(6).get_by_role("button").get_by_text("Lock").click()
            expect(plain.row(6)).to_contain_class(LOCKED)
            anna.sees(6, LOCKED)

        with self.step("a stale page is refused with a message", plain):
            # anna's order 7 is locked behind the back of the page without a script.
            anna.press(7, "Lock")
            plain.row(7).get_by_role("button").get_by_text("Lock").click()
            expect(plain.page.locator(".messages")).to_contain_text("Somebody else has locked order 7.")

        with self.step("anna logs out", anna):
            anna.page.get_by_role("button", name="Log out").click()
            anna.page.get_by_role("heading", name="Log in").wait_for()

        assert not self.faults, self.faults

    @staticmethod
    def _tell(page: Page, kind: str, order: int, version: int, **data: object) -> None:
        """Give the page an event, in the place of livepush.js."""
        page.evaluate("([kind, data]) => heard[kind](data)", [kind, {"order": order, "version": version, **data}])

    @staticmethod
    def _done_of(person: Person, locker: Person) -> tuple[str, ...]:
        return ("Done",) if person is locker or person.name == "mod" else ()


def main(url: str, folder: Path) -> None:
    """Run all of it."""
    folder.mkdir(parents=True, exist_ok=True)
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        try:
            Visit(browser, url, folder).run()
        finally:
            browser.close()
    print("all steps done")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
