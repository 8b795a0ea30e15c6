"""livepush's static files as Django's storages serve them."""

from __future__ import annotations

import posixpath
import re
import tempfile
from pathlib import Path

from django.contrib.staticfiles.storage import ManifestStaticFilesStorage
from django.core.management import call_command
from django.test import override_settings
from twisted.trial.unittest import SynchronousTestCase

MANIFEST = "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"
ASSISTED = f"{__name__}.ImportsRewritten"


class ImportsRewritten(ManifestStaticFilesStorage):
    """The storage that also rewrites the imports of modules."""

    support_js_module_import_aggregation = True


class HashedTests(SynchronousTestCase):
    """Under names that bear a hash of the content."""

    def collect(self, backend: str) -> Path:
        root = Path(tempfile.mkdtemp(dir=self.mktemp_dir()))
        with override_settings(STATIC_ROOT=str(root), STORAGES={"staticfiles": {"BACKEND": backend}}):
            call_command("collectstatic", interactive=False, verbosity=0)
        return root / "livepush"

    def mktemp_dir(self) -> str:
        path = Path(self.mktemp())
        path.mkdir(parents=True)
        return str(path.resolve())

    def test_module(self) -> None:
        """The module under its hashed name still finds the script, whether the storage rewrites imports or not."""
        for backend in (MANIFEST, ASSISTED):
            folder = self.collect(backend)
            (module,) = folder.glob("livepush.????????????.mjs")
            (target,) = re.findall(r'^import "(.+)";$', module.read_text("utf-8"), re.MULTILINE)
            script = folder / posixpath.normpath(target)
            self.assertTrue(script.is_file(), f"{module.name} imports {target}")
            self.assertEqual(len(list(folder.glob("livepush.????????????.js"))), 1)
