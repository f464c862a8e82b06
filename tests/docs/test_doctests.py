"""Every example in a docstring runs, in the package that is imported: from a checkout, or as it was installed."""

import doctest
import importlib
import pkgutil

import pytest

import jackfield

FOUND = {"jackfield", *(found.name for found in pkgutil.walk_packages(jackfield.__path__, "jackfield."))}
MODULES = sorted(FOUND - {"jackfield.__main__"})  # which runs when it is imported


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_hold(name):
    """What a docstring shows is what happens."""
    module = importlib.import_module(name)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    said = []
    for example in doctest.DocTestFinder().find(module, name):
        runner.run(example, out=said.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(said)


def test_there_are_examples():
    """The finder finds: a suite of no examples would pass for ever."""
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = [test for name in MODULES for test in finder.find(importlib.import_module(name), name) if test.examples]
    assert len(found) > 20
