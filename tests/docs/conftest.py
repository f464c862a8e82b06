"""Every test that asks for a page gets each of them, in a fresh folder."""

import logging
import os
import sys
from unittest import mock

import pytest

from support.pages import PAGES, Page


@pytest.fixture
def page(request, tmp_path, monkeypatch):
    """The page that the test is for, in a fresh folder, with the process put back as it was afterwards."""
    made = Page(PAGES[request.param], tmp_path)
    before = set(sys.modules)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "page", made.module)
    for place in reversed(made.places):
        monkeypatch.syspath_prepend(place)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    with mock.patch.dict(os.environ, {"JACKFIELD_NO_CACHE": "1"}):
        yield made
    root.handlers[:] = handlers
    root.setLevel(level)
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def pytest_generate_tests(metafunc):
    """Give each page to the tests that ask for one."""
    if "page" in metafunc.fixturenames:
        metafunc.parametrize("page", list(PAGES), indirect=True)
