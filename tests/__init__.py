"""The tests of livepush, run by `trial tests`.

Django is set up here, once, before any test module is imported: an in-memory database for `DjangoCase`, temporary
files for what needs threads and processes (`CommittedCase`); see `tests.cases`.

Warnings are errors: trial keeps those of a test and lets them go at its end, where they fail it.
"""

from __future__ import annotations

import os
import warnings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")

import django

warnings.simplefilter("error")
# pika 1.5 warns that pika 2 drops the Twisted adapter: that is why our bound is pika<2.
warnings.filterwarnings("ignore", r".*TwistedProtocolConnection", DeprecationWarning)

django.setup()
