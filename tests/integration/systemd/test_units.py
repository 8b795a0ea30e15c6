"""What systemd says of the units without running them, and how they are installed. Needs no root."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.integration.systemd.case import ROOT, UNITS, install
from tests.servers.child import private_folder

EXPOSURE = 12  # tenths; of systemd's own scale, on which 0 is the least. redis-server, the best of its peers, has 12.


class InstalledCase(SynchronousTestCase):
    """The units with the paths of this checkout."""

    def setUp(self) -> None:
        self.units = private_folder("units")

    def install(self) -> None:
        """As `make install-units` does."""
        done = install(self.units, str(Path(sys.prefix)), str(ROOT / "djangosite"), "exchange.settings")
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def analyze(self, *words: str) -> subprocess.CompletedProcess[str]:
        """`systemd-analyze`."""
        if shutil.which("systemd-analyze") is None:
            raise SkipTest("systemd is not installed")
        return subprocess.run(["systemd-analyze", *words], capture_output=True, text=True, timeout=60, check=False)


class StaticTests(InstalledCase):
    """systemd reads them."""

    def test_no_mistake(self) -> None:
        """systemd finds nothing to complain of."""
        self.install()
        paths = [str(self.units / unit.replace("@.", "@1.")) for unit in UNITS]
        done = self.analyze("verify", *paths)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))

    def test_exposure(self) -> None:
        """A process that is taken over can do little: never more than systemd's 1.2."""
        self.install()
        unit = shutil.copy(self.units / "livepush@.service", self.units / "livepush@1.service")
        done = self.analyze("security", "--offline=true", f"--threshold={EXPOSURE}", str(unit))
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


class InstallTests(InstalledCase):
    """`make install-units`."""

    def test_make(self) -> None:
        """All three are there, with the site's paths in place of every blank, and nothing else changes."""
        words = [f"UNITS={self.units}", "PROJECT=/srv/shop", "SETTINGS=shop.settings", "VENV=/srv/shop/venv"]
        done = subprocess.run(
            ["make", "--no-print-directory", "install-units", *words],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(sorted(each.name for each in self.units.iterdir()), sorted(UNITS))
        texts = {unit: (self.units / unit).read_text() for unit in UNITS}
        self.assertFalse([unit for unit, text in texts.items() if "@VENV@" in text or "@PROJECT@" in text])
        service = texts["livepush@.service"]
        self.assertIn("ExecStart=/srv/shop/venv/bin/twistd -n --pidfile= livepush --settings shop.settings", service)
        self.assertIn("WorkingDirectory=/srv/shop\n", service)

    def test_what_is_missing(self) -> None:
        """Without a site, or with a path that is none, it says in one line what to write, and installs nothing."""
        for project, settings, told in (
            ("", "", "make install-units PROJECT=/srv/shop"),
            ("shop", "shop.settings", "PROJECT shop: must be an absolute path"),
            ("/srv/a,b", "shop.settings", "letters, digits"),
        ):
            done = install(self.units, "/srv/venv", project, settings)
            self.assertEqual((done.returncode, len(done.stderr.splitlines())), (1, 1), done.stderr)
            self.assertIn(told, done.stderr)
        self.assertEqual(list(self.units.iterdir()), [])
