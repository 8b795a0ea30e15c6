"""Everything that reads what others wrote, given some of what `make fuzz` gives it for longer."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from twisted.trial.unittest import SynchronousTestCase

from tests.fuzz.__main__ import Tally, play
from tests.fuzz.inputs import spoiled
from tests.fuzz.servers import TARGETS
from tests.fuzz.targets import Target

INPUTS = 25


class TargetTests(SynchronousTestCase):
    """Each target, with the same inputs in each run."""

    def test_each(self) -> None:
        """Whatever it is given, a reader takes it or refuses it in its own way."""
        self.assertGreater(len(TARGETS), 20)
        for each in TARGETS:
            limited = settings(
                max_examples=INPUTS,
                database=None,
                deadline=None,
                derandomize=True,
                suppress_health_check=list(HealthCheck),
            )
            limited(given(each.inputs)(each.check))()

    def test_a_fault_is_found(self) -> None:
        """A reader that breaks is told of, with the shortest input that breaks it."""

        def check(data: bytes) -> None:
            if b"\x00" in data:
                raise IndexError("broken")

        tally = Tally({"broken": 0}, {})
        for number in range(20):
            play(Target("broken", spoiled(b"a right input"), check), number, tally)
        self.assertIn("IndexError: broken", tally.faults["broken"])
        self.assertGreater(tally.inputs["broken"], 0)
