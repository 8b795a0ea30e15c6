"""Three source roots, one namespace.

`broker/`, `daemon/` and `djangosite/` each hold a `livepush/` folder without an `__init__.py` (PEP 420), so that the
repository shows the parts of the system at its top while users import `livepush.broker`, `livepush.daemon` and
`livepush.django`. What a wheel holds and where an editable install looks is said here; everything else is in
`pyproject.toml`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from setuptools import find_namespace_packages, setup
from setuptools.command.editable_wheel import _StaticPth, editable_wheel

ROOTS = ("broker", "daemon", "djangosite")


class EditableWheel(editable_wheel):
    """Puts the real folders on `sys.path`.

    The import hook that setuptools would install is invisible to twistd's search for plugins and to mypy.
    """

    def _select_strategy(self, name: str, *args: Any, **kwargs: Any) -> _StaticPth:
        here = Path(__file__).parent
        return _StaticPth(self.distribution, name, [(here / root).resolve() for root in (".", *ROOTS)])


package_dir = {
    package: f"{root}/{package.replace('.', '/')}"
    for root in ROOTS
    for package in find_namespace_packages(root, include=["livepush.*", "twisted.plugins"])
}

setup(packages=sorted(package_dir), package_dir=package_dir, cmdclass={"editable_wheel": EditableWheel})
