"""Tests of the client libraries that the example pages serve."""

from __future__ import annotations

import re
from hashlib import sha256
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import exchange

VENDOR = Path(exchange.__file__).parent / "static" / "exchange" / "vendor"


class VendorTests(SynchronousTestCase):
    """`static/exchange/vendor`."""

    def test_unchanged(self) -> None:
        """Each file is the one that the README names, and each has its package's licence beside it."""
        readme = (VENDOR / "README.md").read_text("utf-8")
        told = dict(re.findall(r"^\| `([^`]+)` .* `([0-9a-f]{64})` \|$", readme, re.MULTILINE))
        there = {path.name: sha256(path.read_bytes()).hexdigest() for path in VENDOR.iterdir()}
        del there["README.md"]
        self.assertEqual(told, there)
        libraries = [name.removesuffix(".min.js") for name in there if name.endswith(".min.js")]
        self.assertEqual(
            sorted(f"{name}.LICENSE.txt" for name in libraries),
            sorted(set(there) - {f"{name}.min.js" for name in libraries}),
        )
