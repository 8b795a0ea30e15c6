"""The habits of the project that a machine can hold: who may import whom, and what no module does.

`ARCHITECTURE.md` says the layering rule in words. Each habit is a function from one parsed module to its faults; the
first test class shows every one of them a module that breaks it, the second runs all of them over the repository.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).resolve().parents[2]
ROOTS = ("broker", "daemon", "djangosite")
IDENTITY = "livepush.daemon.identity"
DOORS = (IDENTITY, "livepush.daemon.reader", "livepush.daemon.receiver")
COMMANDS = "livepush.django.management.commands"
TWISTED_SIDE = tuple(
    f"livepush.broker.{name}"
    for name in ("amqp", "beacon", "causes", "channel", "embedded", "endpoint", "feed", "intake", "lifeline")
)
TWISTED = ("twisted", "autobahn", "txaio", "txredisapi", "zope", "pika.adapters.twisted_connection")

# Who reads the environment or Django's settings; everybody else is handed a frozen value.
READERS = ("livepush.django.conf", COMMANDS, IDENTITY, "livepush.daemon.twistd", "livepush.daemon.worker")

# Files of tests that may wait by the clock, each with its reason.
SLEEPERS = {
    "tests/acceptance/security/test_floods.py": "an honest page's pings come at a pace below the rate that it may send",
    "tests/integration/broker/test_publisher.py": "asks a counter whether it is there yet; threads publish at a pace",
    "tests/integration/browser_client/browse.py": "that a page does not come back can only be seen by waiting",
    "tests/integration/django/test_processes.py": "visitors come at a pace; asks whether a log answers yet",
}

Rule = Callable[["Module"], Iterator[str]]


@dataclass(frozen=True, slots=True)
class Module:
    """One Python file: its dotted name, its path below the repository, its lines and its syntax tree."""

    name: str
    path: str
    lines: int
    tree: ast.Module

    def within(self, *packages: str) -> bool:
        """Whether it is one of these modules or lies below one of these packages."""
        return _below(self.name, *packages)


def _below(name: str, *packages: str) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def parse(name: str, path: str, source: str) -> Module:
    """The module with this text."""
    return Module(name, path, len(source.splitlines()), ast.parse(source))


def modules() -> list[Module]:
    """Every Python file of the repository that people wrote."""
    found = []
    for top in (*ROOTS, "tests", "bench"):
        base = ROOT if top in ("tests", "bench") else ROOT / top
        for path in sorted((ROOT / top).rglob("*.py")):
            if not {"node_modules", "__pycache__"}.intersection(path.parts) and not path.name.startswith("."):
                dotted = ".".join(path.relative_to(base).with_suffix("").parts).removesuffix(".__init__")
                found.append(parse(dotted, str(path.relative_to(ROOT)), path.read_text("utf-8")))
    return found


def imported(module: Module, nodes: Iterator[ast.AST] | None = None) -> Iterator[tuple[str, int]]:
    """What it imports, with the line: `from a import b` counts as `a.b`, which may be a module or a name in one."""
    package = module.name if module.path.endswith("__init__.py") else module.name.rpartition(".")[0]
    for node in ast.walk(module.tree) if nodes is None else nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")
            base = ".".join(parents[: len(parents) - node.level + 1]) if node.level else ""
            origin = ".".join(filter(None, (base, node.module)))
            for alias in node.names:
                yield f"{origin}.{alias.name}", node.lineno


def _at_import(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes that run when a module is imported: not the bodies of functions."""
    for node in ast.iter_child_nodes(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield node
            yield from _at_import(node)


def _used(module: Module) -> Iterator[tuple[str, int]]:
    """Dotted names as written, and imported names: `time.sleep` is found both ways."""
    yield from imported(module)
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute):
            yield ast.unparse(node), node.lineno


def layering(module: Module) -> Iterator[str]:
    """broker imports nothing of ours, wire the envelope and its reader, django the broker, daemon what it must."""
    ours: tuple[str, ...] = ("livepush.broker",)
    foreign: tuple[str, ...] = ("django",)
    if module.within("livepush.broker"):
        if not module.within(*TWISTED_SIDE):
            foreign += TWISTED
        elif not module.within("livepush.broker.amqp"):
            foreign += ("pika.adapters.twisted_connection",)
    elif module.within("livepush.wire"):
        ours = ("livepush.wire", "livepush.broker.envelope", "livepush.broker.strictjson")
        foreign = ("django", "pika", *TWISTED)
    elif module.within(COMMANDS):
        ours, foreign = ("livepush",), ("pika.adapters.twisted_connection",)
    elif module.within("livepush.django"):
        ours, foreign = ("livepush.django", "livepush.broker"), TWISTED
    elif module.within("livepush.daemon", "twisted.plugins"):
        ours, foreign = ("livepush.daemon", "livepush.wire", "livepush.broker"), ("django", "pika")
        if module.within(*DOORS):
            ours, foreign = (*ours, "livepush.django"), ("pika",)
    else:
        return
    for name, line in imported(module):
        if (_below(name, "livepush") and not _below(name, *ours)) or _below(name, *foreign):
            yield f"line {line}: {module.name} may not import {name}"


def reactor(module: Module) -> Iterator[str]:
    """The reactor is a parameter, or imported where it is started; what trial runs with real servers has trial's."""
    if module.within("tests.integration", "tests.acceptance"):
        return
    for name, line in imported(module, _at_import(module.tree)):
        if _below(name, "twisted.internet.reactor"):
            yield f"line {line}: the reactor is imported at the top"


def size(module: Module) -> Iterator[str]:
    """A module is one noun; past 400 lines it says why. Its tests are as long as they must be."""
    if module.lines > 400 and not module.within("tests") and "past 400 lines because" not in _doc(module):
        yield f"{module.lines} lines, and its docstring does not say 'past 400 lines because'"


def documented(module: Module) -> Iterator[str]:
    """A module says what it is; one of tests has the name of what it tests."""
    if module.within("tests"):
        return
    private = any(part.startswith("_") for part in module.name.split(".")) or "/migrations/" in module.path
    empty = module.path.endswith("__init__.py") and not module.tree.body
    if not (private or empty or _doc(module)):
        yield "no docstring"


def settings_readers(module: Module) -> Iterator[str]:
    """Configuration is read once, where it is validated."""
    if module.within("livepush", "twisted.plugins") and not module.within(*READERS):
        for name, line in _used(module):
            if _below(name, "os.environ", "os.getenv", "os.environb", "django.conf.settings"):
                yield f"line {line}: reads {name}"


def pickles(module: Module) -> Iterator[str]:
    """Nothing is unpickled or evaluated, so nothing that reaches a process can run code in it. A test may try to."""
    if module.within("tests"):
        return
    for name, line in imported(module):
        if _below(name, "pickle", "_pickle", "marshal", "shelve", "dill", "cloudpickle", "yaml", "code", "codeop"):
            yield f"line {line}: imports {name}"
    for node in ast.walk(module.tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in ("eval", "exec", "compile")
        ):
            yield f"line {node.lineno}: calls {node.func.id}"
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and "PickleSerializer" in node.value:
            yield f"line {node.lineno}: names a serializer that unpickles"


def django_cases(module: Module) -> Iterator[str]:
    """Trial calls neither the class set-up nor the rollback of Django's cases: some would pass silently."""
    if module.within("tests"):
        for name, line in _used(module):
            if name.startswith("django.") and name.endswith(("TestCase", "LiveServerTestCase")):
                yield f"line {line}: {name}; use those of tests.cases"


def sleeps(module: Module) -> Iterator[str]:
    """Tests wait for what they want to see, not for the clock."""
    if module.within("tests") and module.path not in SLEEPERS:
        for name, line in _used(module):
            if name == "time.sleep" or name.endswith(".wait_for_timeout"):
                yield f"line {line}: {name}"


RULES: tuple[Rule, ...] = (
    layering,
    reactor,
    size,
    documented,
    settings_readers,
    pickles,
    django_cases,
    sleeps,
)


def _doc(module: Module) -> str:
    return " ".join((ast.get_docstring(module.tree) or "").split())


class RuleTests(SynchronousTestCase):
    """Each habit, shown a module that breaks it and one that does not."""

    def assert_faults(self, rule: Rule, name: str, source: str, count: int, path: str = "") -> None:
        """`rule` finds this many faults in a module of this name and text."""
        found = list(rule(parse(name, path or f"{name.replace('.', '/')}.py", source)))
        self.assertEqual(len(found), count, found)

    def test_layers(self) -> None:
        """An import against the layering is found, in whatever form and place it is written."""
        bad = {
            "livepush.broker.names": "from livepush.wire import native",
            "livepush.broker.envelope": "import django.conf",
            "livepush.broker.publisher": "def f():\n    from twisted.internet import defer",
            "livepush.broker.feed": "import pika.adapters.twisted_connection",
            "livepush.wire.native": "from livepush.broker import names",
            "livepush.django.publication": "from livepush import daemon",
            "livepush.django.conf": "import twisted",
            "livepush.daemon.hub": "from ..django import conf",
            "livepush.daemon.service": "from django.conf import settings",
            "livepush.daemon.calls": "from livepush.django import receiving",
            "livepush.daemon.identifier": "from livepush.django import tickets",
            "twisted.plugins.livepush_plugin": "import django",
        }
        for name, source in bad.items():
            self.assert_faults(layering, name, source, 1)

    def test_layers_allowed(self) -> None:
        """What each layer needs is allowed, and names that only look alike are."""
        good = {
            "livepush.broker.amqp": "from pika.adapters.twisted_connection import TwistedProtocolConnection",
            "livepush.broker.publisher": "import pika, djangonaut\nfrom . import names",
            "livepush.wire.native": "from livepush.broker.envelope import Event",
            "livepush.daemon.identity": "from livepush.django.conf import Conf\nimport django",
            "livepush.django.management.commands.livepush": "from livepush.daemon import service",
        }
        for name, source in good.items():
            self.assert_faults(layering, name, source, 0)

    def test_reactor(self) -> None:
        """A reactor imported when the module is imported is found; one imported by a function is not."""
        self.assert_faults(reactor, "livepush.daemon.hub", "from twisted.internet import defer, reactor", 1)
        self.assert_faults(reactor, "tests.unit.x", "if 1:\n    import twisted.internet.reactor", 1)
        self.assert_faults(reactor, "livepush.daemon.hub", "def f():\n    from twisted.internet import reactor", 0)

    def test_size(self) -> None:
        """A long module needs its reason."""
        self.assert_faults(size, "livepush.x", "'''A noun.'''\n" + "x = 1\n" * 400, 1)
        self.assert_faults(size, "livepush.x", "'''Past 400.\n\npast 400 lines\nbecause so.'''\n" + "x = 1\n" * 400, 0)
        self.assert_faults(size, "livepush.x", "'''A noun.'''\n" + "x = 1\n" * 399, 0)

    def test_documented(self) -> None:
        """A module without a docstring is found; an empty `__init__.py` needs none."""
        self.assert_faults(documented, "livepush.x", "", 1)
        self.assert_faults(documented, "bench.x", "x = 1", 1)
        self.assert_faults(documented, "livepush.x", "", 0, "livepush/x/__init__.py")

    def test_settings_readers(self) -> None:
        """A module that reads the environment or Django's settings on its own is found."""
        for source in ("import os\nos.environ['X']", "from os import getenv", "from django.conf import settings"):
            self.assert_faults(settings_readers, "livepush.django.publication", source, 1)
            self.assert_faults(settings_readers, "livepush.django.conf", source, 0)

    def test_pickles(self) -> None:
        """pickle is found, and what else makes code of data."""
        for source in ("from pickle import loads", "import yaml", "eval(x)", "X = 'django...PickleSerializer'"):
            self.assert_faults(pickles, "livepush.broker.names", source, 1)
        self.assert_faults(pickles, "livepush.broker.names", "re.compile('x')", 0)

    def test_django_cases(self) -> None:
        """Django's own test case classes are found; its client is not one."""
        self.assert_faults(django_cases, "tests.x", "from django.test import Client, TransactionTestCase", 1)
        self.assert_faults(django_cases, "tests.x", "import django.test\nclass A(django.test.SimpleTestCase): ...", 1)
        self.assert_faults(django_cases, "tests.x", "from twisted.trial.unittest import TestCase", 0)

    def test_sleeps(self) -> None:
        """A test that sleeps is found."""
        self.assert_faults(sleeps, "tests.x", "import time\ntime.sleep(1)", 1)
        self.assert_faults(sleeps, "tests.x", "from time import sleep", 1)
        self.assert_faults(sleeps, "tests.x", "page.wait_for_timeout(100)", 1)


class RepositoryTests(SynchronousTestCase):
    """The habits, held over every file."""

    def test_habits(self) -> None:
        """No module of the repository breaks a habit."""
        everything = modules()
        self.assertIn("livepush.broker.names", {module.name for module in everything})
        self.assertIn("tests.unit.test_layering", {module.name for module in everything})
        faults = [
            f"{module.path}: {fault} ({rule.__name__})"
            for module in everything
            for rule in RULES
            for fault in rule(module)
        ]
        self.assertEqual(faults, [], "\n" + "\n".join(faults))

    def test_namespace(self) -> None:
        """`livepush` has no `__init__.py` in any root, which would hide the other roots."""
        self.assertEqual([root for root in (".", *ROOTS) if (ROOT / root / "livepush/__init__.py").exists()], [])
        for root in ROOTS:
            bare = [path.name for path in (ROOT / root / "livepush").glob("*.py")]
            self.assertEqual(bare, [], "only sub-packages live in the namespace")

    def test_scripts_size(self) -> None:
        """A script for the browser past 400 lines says why in its first comment."""
        for path in (ROOT / "djangosite/livepush/django/static").rglob("*.*js"):
            text = path.read_text("utf-8")
            if len(text.splitlines()) > 400:
                self.assertIn("past 400 lines because", " ".join(text.partition("*/")[0].replace("*", " ").split()))

    def test_sleepers(self) -> None:
        """The list of tests that may sleep names only files that do."""

        def waits(path: Path) -> bool:
            text = path.read_text("utf-8")
            return "sleep(" in text or "wait_for_timeout(" in text

        stale = [path for path in SLEEPERS if not (ROOT / path).exists() or not waits(ROOT / path)]
        self.assertEqual(stale, [])


class FreshInterpreterTests(SynchronousTestCase):
    """What really gets loaded, whoever imports it."""

    def printed(self, code: str) -> str:
        """What a new Python writes that runs `code`."""
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", code],
            cwd=ROOT,
            env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.strip()

    def assert_not_loaded(self, code: str, unwanted: tuple[str, ...]) -> None:
        """A new Python that has run `code` has none of these packages."""
        show = f"import sys; print([n for n in sys.modules for u in {unwanted!r} if n == u or n.startswith(u + '.')])"
        self.assertEqual(self.printed(f"{code}\n{show}"), "[]")

    def test_django_side(self) -> None:
        """A Django process that publishes never loads Twisted."""
        code = (
            "import django; django.setup()\nimport livepush.django, livepush.broker.publisher\nlivepush.django.publish"
        )
        self.assert_not_loaded(code, ("twisted", "autobahn", "livepush.daemon", "livepush.wire"))

    def test_import_is_cheap(self) -> None:
        """`livepush.django` can be imported before Django's settings are, as `INSTALLED_APPS` and `push.py` do."""
        self.assert_not_loaded("import livepush.django", ("pika", "twisted", "django.contrib.auth.models"))

    def test_names_are_looked_up_without_imports(self) -> None:
        """A child that is forked while another thread imports a module can never import it, and waits for ever."""
        code = "import socket, sys, livepush.broker.publisher\nbefore = set(sys.modules)\n"
        code += "socket.getaddrinfo('127.0.0.1', 1)\nprint(sorted(set(sys.modules) - before))"
        self.assertEqual(self.printed(code), "[]")

    def test_wire(self) -> None:
        """The codecs of the wire load neither network nor Django."""
        code = (
            "import pkgutil, livepush.wire\nfor m in pkgutil.walk_packages(livepush.wire.__path__, 'livepush.wire.'):"
        )
        code += "\n    __import__(m.name)"
        self.assert_not_loaded(code, ("twisted", "django", "pika", "socket", "asyncio"))

    def test_daemon(self) -> None:
        """Twistd can read the plugin and its options without Django, and before a reactor is chosen."""
        code = "import twisted.plugins.livepush_plugin, livepush.daemon.options, livepush.daemon.hub"
        self.assert_not_loaded(code, ("django", "twisted.internet.reactor"))
