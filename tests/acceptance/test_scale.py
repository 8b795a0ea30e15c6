"""What docs/how-to/scale.md builds: three nodes of RabbitMQ, three daemons, Redis; one of each is killed under load."""

from __future__ import annotations

from tests.acceptance.soaking import SoakCase

CLIENTS = 300
FAULTS = ("leader-kill", "daemon-kill", "redis-kill")


class ScaleTests(SoakCase):
    """One run, once through everything that may go."""

    def test_one_of_each_is_killed(self) -> None:
        """Three hundred pages miss nothing in silence; every daemon and Django know again who is here, and who left."""
        words = ("--once", "--sqlite", "--clients", str(CLIENTS), "--rate", "12", "--seed", "36")
        status, printed = self.run_soak("--cluster", *words, "--faults", ",".join(FAULTS))
        self.assertEqual(status, 0, printed)
        for name in FAULTS:
            self.assertRegex(printed, rf"(?m)^{name} +\d+ s +[0-9.]+ s", f"{name} was not done")
        self.assertIn(f"for {CLIENTS} pages", printed)
        self.assertRegex(printed, r"lost 0, duplicate 0, reordered 0, forbidden 0, invented 0, stale 0, needless 0")
        self.assertRegex(printed, r"presence: 50 users, told alike everywhere [0-9.]+ s after all was healed")
        self.assertRegex(printed, r"presence: 25 users, told alike everywhere [0-9.]+ s after half of the users left")
