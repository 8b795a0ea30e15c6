"""The rules, and how each is taken out of the product: a model that does not notice that would prove nothing.

Every rule has a schedule in `tests.unit.model.schedules` that goes wrong without it.
"""

from __future__ import annotations

from tests.unit.model.rules import entitlement, pages, positions, publishing
from tests.unit.model.rules.rule import RULES, Rule

__all__ = ["RULES", "Rule", "entitlement", "pages", "positions", "publishing"]
