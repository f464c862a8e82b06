"""The typing tests are checked by `nox -s types`; here, that they can be imported at all."""

import importlib.util
from pathlib import Path


def test_the_typing_examples_are_valid_python():
    """They are read by type checkers alone, so a slip in them would go unseen elsewhere."""
    path = Path(__file__).parents[1] / "typing" / "handles.py"
    spec = importlib.util.spec_from_file_location("handles", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.score(module.Loan(3)) == 3.0
