"""What the daemon knows of a site whose Django it has set up."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from livepush.daemon.entitlement import Directory
from livepush.daemon.identity import load, site


class SiteTests(SynchronousTestCase):
    """Django as the daemon finds it."""

    def test_site(self) -> None:
        """Settings, channels and origins of the site; nothing is started."""
        with override_settings(
            LIVEPUSH_PORT=1234,
            CSRF_TRUSTED_ORIGINS=["https://a.b"],
            ALLOWED_HOSTS=["c.d"],
            LIVEPUSH_ALLOWED_ORIGINS=None,
            SESSION_COOKIE_SECURE=True,
        ):
            found = site(Clock())
        self.assertEqual(found.conf.port, 1234)
        self.assertIsInstance(found.directory, Directory)
        self.assertEqual((found.origins.allowed, found.origins.trusted), (None, ("https://a.b",)))
        self.assertEqual((found.origins.hosts, found.origins.https_only), (("c.d",), True))
        self.assertFalse(found.origins.development)

    def test_faulty_site(self) -> None:
        """A site with faults is refused with a line for each."""
        with override_settings(LIVEPUSH_PORT=0, LIVEPUSH_RETRY=5):
            error = self.assertRaises(ImproperlyConfigured, site, Clock())
        lines = str(error).splitlines()
        self.assertEqual(len(lines), 2)
        self.assertIn("LIVEPUSH_PORT 0: must be an int from 1 to 65535", lines[0])

    def test_not_installed(self) -> None:
        """A site without the app is told what to add."""
        with override_settings(INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes"]):
            error = self.assertRaises(ImproperlyConfigured, site, Clock())
        self.assertIn("INSTALLED_APPS", str(error))

    def test_no_settings_module(self) -> None:
        """A settings module that is not there is told with where it was looked for."""
        error = self.assertRaises(ImproperlyConfigured, load, "no.such.settings", self.folder())
        self.assertIn("no.such.settings", str(error))
        self.assertIn("--pythonpath", str(error))

    def test_load(self) -> None:
        """A fresh process sets Django up from a folder, and its channels are there."""
        folder = Path(self.folder())
        (folder / "shop").mkdir()
        (folder / "shop" / "__init__.py").write_text("")
        (folder / "shop" / "push.py").write_text(
            "from livepush.django import Audience, Channel\n"
            "class Shop(Channel):\n    name = 'shop'\n    audiences = [Audience('all')]\n"
        )
        (folder / "shop_settings.py").write_text(
            "SECRET_KEY = 'x'\nLIVEPUSH_PORT = 4321\n"
            "INSTALLED_APPS = ['django.contrib.auth', 'django.contrib.contenttypes', 'livepush.django', 'shop']\n"
        )
        program = (
            "import sys\nfrom livepush.daemon.identity import load\n"
            f"site = load('shop_settings', {str(folder)!r})\n"
            "print(site.conf.port, [rule.pattern.text for rule in site.directory.rules])\n"
        )
        environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
        done = subprocess.run(
            [sys.executable, "-c", program], check=False, capture_output=True, text=True, env=environment, timeout=60
        )
        self.assertEqual((done.returncode, done.stdout), (0, "4321 ['shop']\n"), done.stderr)

    def folder(self) -> str:
        before = list(sys.path)
        self.addCleanup(sys.path.__setitem__, slice(None), before)
        module = os.environ["DJANGO_SETTINGS_MODULE"]
        self.addCleanup(os.environ.__setitem__, "DJANGO_SETTINGS_MODULE", module)
        path = Path(self.mktemp()).resolve()
        path.mkdir()
        return str(path)
