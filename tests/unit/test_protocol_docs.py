"""The protocol's reference and the code name the same codes."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from livepush.wire.closing import Close
from livepush.wire.requests import ErrorCode

PAGE = Path(__file__).parents[2] / "docs/reference/protocol.md"


class ProtocolPageTests(SynchronousTestCase):
    """docs/reference/protocol.md."""

    def test_headings(self) -> None:
        """Every close code and every error code has a heading, and no heading is of a code that is none."""
        headings = re.findall(r"^### (\S+)$", PAGE.read_text(), re.M)
        self.assertEqual(headings, sorted(map(str, ErrorCode)) + [str(int(code)) for code in sorted(Close)])
