"""People at the order exchange in a real Chromium: what the stories of this folder share.

Playwright's synchronous interface blocks, so each story is a process of its own.
"""

from __future__ import annotations

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
TELEPHONE = {"width": 390, "height": 760}
DESKTOP = {"width": 1100, "height": 820}


class Person:
    """A user with a browser of his own.

    Attributes:
        page: his first tab, at the list of orders.
    """

    def __init__(self, context: BrowserContext, url: str, name: str, faults: list[str]) -> None:
        """Log in.

        Args:
            context: the browser of his own.
            url: the site's origin.
            name: of the user.
            faults: what the console of his tabs says is added to it.
        """
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
        """Click a button of a row, and wait for what follows: a page, or where orders are locked in place the lock."""
        clicked = self.row(order).get_by_role("button").get_by_text(button)
        if button == "Lock":
            clicked.click()
            expect(self.row(order)).to_contain_class(MINE)
        else:
            with self.page.expect_navigation():
                clicked.click()
        self.watch()

    def goto(self, path: str, page: Page | None = None) -> None:
        """Go to one of the site's pages, and wait until it is live."""
        page = page or self.page
        page.goto(self._url + path)
        self.watch(page)


class Visit:
    """A story: people at the site, in one browser.

    Attributes:
        faults: what has stood in the pages' consoles.
    """

    script = ""
    """Runs in every page before its own scripts."""

    def __init__(self, browser: Browser, url: str, folder: Path) -> None:
        self._browser, self._url, self._folder = browser, url, folder
        self.faults: list[str] = []
        self._steps = 0

    def person(self, name: str, viewport: dict[str, int] = DESKTOP, script: bool = True) -> Person:
        """Somebody who logs in."""
        context = self._browser.new_context(viewport=viewport, java_script_enabled=script)  # type: ignore[arg-type]
        if self.script:
            context.add_init_script(self.script)
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


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser, with the patience of a busy machine."""
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        try:
            yield browser
        finally:
            browser.close()
