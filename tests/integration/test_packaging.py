"""What a user gets from `pip install .` and from `pip install -e .`, in throw-away environments.

They borrow the dependencies of the running environment through a `.pth` file (whose own `.pth` files are not followed,
so its livepush stays invisible), and are built from a copy of the sources, so that nothing is left in the checkout.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import tempfile
import venv
import zipfile
from functools import cache
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).resolve().parents[2]
ROOTS = ("broker", "daemon", "djangosite")
PACKAGES = ("broker", "wire", "daemon", "django")

# A Django project in one text: the app's command, its template tag and its static files are found.
PROJECT = """
import django
from django.conf import settings
settings.configure(
    SECRET_KEY="x" * 60, STATIC_URL="/static/",
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions",
                    "django.contrib.staticfiles", "livepush.django"],
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}],
)
django.setup()
from django.contrib.staticfiles import finders
from django.core.management import get_commands
from django.template import engines
assert get_commands()["livepush"] == "livepush.django"
assert finders.find("livepush/livepush.js") and finders.find("livepush/livepush.mjs")
assert "<script" in engines["django"].from_string("{% load livepush %}{% livepush %}").render()
"""


class PackagingTests(SynchronousTestCase):
    """The installed product, seen from a folder that has nothing to do with the checkout."""

    def setUp(self) -> None:
        """A foreign working directory."""
        self.elsewhere = Path(self.mktemp()).resolve()
        self.elsewhere.mkdir(parents=True)

    def run_in(self, python: Path | str, *arguments: str) -> str:
        """The output of this interpreter, isolated from the environment and the working directory."""
        command = [str(python), "-I", *arguments]
        done = subprocess.run(
            command,
            cwd=self.elsewhere,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        self.assertEqual(done.returncode, 0, f"{command}\n{done.stdout}")
        return done.stdout

    def make_environment(self, *what: str) -> Path:
        """The interpreter of a new environment in which `pip install WHAT` was run."""
        folder = self.elsewhere / "venv"
        venv.create(folder, symlinks=True)
        (site,) = folder.glob("lib/python*/site-packages")
        borrowed = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
        (site / "borrowed.pth").write_text("\n".join(sorted(borrowed)) + "\n")
        python = folder / "bin/python"
        missing = subprocess.run([python, "-I", "-c", "import livepush.broker"], capture_output=True, check=False)
        self.assertIn(b"ModuleNotFoundError", missing.stderr, "the environment has a livepush before it is installed")
        self.run_in(python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", *what)
        return python

    def assert_works(self, python: Path) -> None:
        """Everything a user reaches is there: packages, twistd's plugin, Django's app, types."""
        imports = ", ".join(f"livepush.{package}" for package in PACKAGES)
        self.run_in(python, "-c", f"import {imports}")
        listing = self.run_in(python, "-c", "from twisted.scripts.twistd import run; run()", "--help")
        self.assertRegex(listing, r"\n +livepush +\S+")
        options = self.run_in(python, "-c", "from twisted.scripts.twistd import run; run()", "livepush", "--help")
        self.assertIn("--settings", options)
        self.run_in(python, "-c", PROJECT)
        (self.elsewhere / "user.py").write_text(
            "from livepush.broker.names import personal_channel\n"
            "from livepush.daemon.entitlement import Snapshot\n"
            "from livepush.django import publish\n"
            "from livepush.wire import native\n"
            "reveal_type(personal_channel(7))\n"
            "reveal_type(Snapshot)\n"
            "reveal_type(publish)\n"
        )
        mypy = ("-m", "mypy", "--strict", "--config-file=", "--python-executable", str(python), "user.py")
        types = self.run_in(sys.executable, *mypy, "--follow-imports=silent", "--cache-dir", "cache")
        self.assertIn('"str"', types)
        self.assertNotIn('"Any"', types)

    def test_wheel(self) -> None:
        """The wheel holds every file of the four packages and the plugin, and nothing of the site or the tests."""
        with zipfile.ZipFile(wheel()) as archive:
            held = {name for name in archive.namelist() if ".dist-info/" not in name}
            texts = {name: archive.read(name) for name in archive.namelist() if name.endswith("METADATA")}
        for name in (
            *(f"livepush/{package}/{file}" for package in PACKAGES for file in ("__init__.py", "py.typed")),
            "livepush/django/management/commands/livepush.py",
            "livepush/django/templatetags/livepush.py",
            "livepush/django/static/livepush/livepush.js",
            "livepush/django/static/livepush/livepush.mjs",
            "twisted/plugins/livepush_plugin.py",
        ):
            self.assertIn(name, held)
        self.assertTrue([name for name in held if name.startswith("livepush/django/templates/livepush/")])
        self.assertNotIn("livepush/__init__.py", held)
        self.assertEqual({name.partition("/")[0] for name in held}, {"livepush", "twisted"})
        self.assertEqual({name for name in held if name.startswith("twisted/")}, {"twisted/plugins/livepush_plugin.py"})
        sources = wheel().parents[1]
        written = {
            str(path.relative_to(sources / root))
            for root in ROOTS
            for path in (sources / root / "livepush").rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
        self.assertEqual(written - held, set(), "in the sources, but not in the wheel")
        self.assertEqual(held - written - {"twisted/plugins/livepush_plugin.py"}, set(), "only in the wheel")
        self.assertEqual(len(texts), 1)
        self.assertIn(b"Requires-Dist: pika<2,>=1.4", next(iter(texts.values())))

    def test_install(self) -> None:
        """`pip install .` (the wheel it builds) gives a livepush that works from any folder."""
        self.assert_works(self.make_environment(str(wheel())))

    def test_editable_install(self) -> None:
        """`pip install -e .` does too, and a change of the sources is there without installing again."""
        sources = copy_sources(self.mktemp())
        python = self.make_environment("--editable", str(sources))
        self.assert_works(python)
        (sources / "daemon/livepush/wire/later.py").write_text("answer = 42\n")
        self.assertEqual(self.run_in(python, "-c", "from livepush.wire.later import answer; print(answer)"), "42\n")


def copy_sources(folder: str) -> Path:
    """A checkout without what was built, tested or demonstrated in it."""
    copy = Path(folder).resolve()
    left = shutil.ignore_patterns("__pycache__", "dropin.cache", "node_modules", "*.egg-info", "*.sqlite3")
    for name in ROOTS:
        shutil.copytree(ROOT / name, copy / name, ignore=left)
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    return copy


@cache
def wheel() -> Path:
    """What `pip install .` builds and installs; made once a run, below trial's own folder."""
    sources = copy_sources(tempfile.mkdtemp(prefix="packaging-", dir="."))
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    built = subprocess.run(
        [*pip, "--wheel-dir", f"{sources}/dist", str(sources)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if built.returncode:
        raise AssertionError(built.stdout + built.stderr)
    (found,) = (sources / "dist").glob("livepush-*.whl")
    return found
