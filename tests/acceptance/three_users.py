"""Three users and a guest at the demo in a real Chromium, by clicking.

    python -m tests.acceptance.three_users URL DIR

It writes a screenshot of each step into DIR, prints the steps, and ends with an `AssertionError` or a Playwright error
at the first thing that is not as it should be. The demo must be fresh, and free no locks by itself.
"""

from __future__ import annotations

import sys
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.acceptance.browser import DONE, HIDDEN, LOCKED, MINE, TELEPHONE, Person, Visit, chromium

SCRIPTED = """
"use strict";
window.heard = {};
window.livepush = {
  on(channel, type, callback) { heard[type] = callback; },
  onResync(channel, callback) { window.resync = callback; },
  onAccess() {},
  onPresence() {},
  onStatus() {},
};
"""
"""What one page gets for livepush.js: nothing comes to it but what it is told."""


class ThreeUsers(Visit):
    """The whole story."""

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

        with self.step("each sees who looks at the list, himself among them", *people):
            for person in people:
                names = sorted(f"{each.name} (you)" if each is person else each.name for each in people)
                expect(person.page.locator("#present")).to_have_text(f"Looking at this list: {', '.join(names)}")

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
    with chromium() as browser:
        ThreeUsers(browser, url, folder).run()
    print("all steps done")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
