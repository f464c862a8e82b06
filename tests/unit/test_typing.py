"""The typing tests are checked by `nox -s types`; here, that they can be imported at all."""

import importlib.util
from pathlib import Path


def imported(name):
    path = Path(__file__).parents[1] / "typing" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_typing_examples_are_valid_python():
    """They are read by type checkers alone, so a slip in them would go unseen elsewhere."""
    handles = imported("handles")
    assert handles.score(handles.Loan(3)) == 3.0
    assert imported("injection").host.graph().count("Mailer") == 1
