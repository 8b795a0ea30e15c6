"""The tests of livepush, run by `trial tests`.

Django is set up here, once, before any test module is imported: an in-memory database for `DjangoCase`, temporary
files for what needs threads and processes (`CommittedCase`); see `tests.cases`.
"""

from __future__ import annotations

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")

import django
from django.test.utils import setup_test_environment

django.setup()
setup_test_environment(debug=False)
