"""Every rule is needed: a schedule that is kept with it goes wrong when it is taken out of the product."""

from __future__ import annotations

import logging
from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from tests.unit.model.explorer import from_text, run
from tests.unit.model.rules import RULES
from tests.unit.model.schedules import SCHEDULES


class RuleTests(SynchronousTestCase):
    """One test a rule, made below."""

    def setUp(self) -> None:
        logging.disable(logging.CRITICAL)
        self.addCleanup(logging.disable, logging.NOTSET)

    def test_every_rule_has_its_schedule(self) -> None:
        """And every schedule its rule."""
        self.assertEqual(sorted(SCHEDULES), sorted(RULES))

    def check(self, name: str) -> None:
        """A rule's schedule, with it and without."""
        schedule = from_text(SCHEDULES[name])
        self.assertEqual(run(schedule).violation, None, "with the rule")
        with RULES[name].left_out():
            self.assertNotEqual(run(schedule).violation, None, f"without the rule that {RULES[name].says}")


def _make_test(name: str) -> Callable[[RuleTests], None]:
    def test(self: RuleTests) -> None:
        self.check(name)

    test.__doc__ = RULES[name].says
    return test


for _name in RULES:
    setattr(RuleTests, f"test_{_name}", _make_test(_name))
