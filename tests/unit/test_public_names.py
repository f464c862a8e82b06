"""The public names are pinned: adding or losing one is a decision."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import jackfield


def test_all_is_sorted_and_complete():
    """`__all__` is sorted, has no doubles, and is what `dir` shows and the table can import."""
    assert jackfield.__all__ == sorted(set(jackfield.__all__))
    assert set(jackfield.__all__) == set(jackfield._HOMES)
    assert set(jackfield.__all__) <= set(dir(jackfield))
    for name in jackfield.__all__:
        assert getattr(jackfield, name) is not None


@pytest.mark.parametrize("package", ["", ".config", ".contract", ".injection", ".plugins.loading", ".store"])
def test_type_checkers_and_the_interpreter_see_the_same_names(package):
    """The imports under `TYPE_CHECKING` and the table of homes say the same, and every home has its name."""
    module = importlib.import_module(f"jackfield{package}")
    tree = ast.parse(Path(module.__file__).read_text("utf-8"))
    (checked,) = (node for node in tree.body if isinstance(node, ast.If) and node.test.id == "TYPE_CHECKING")
    assert {alias.name: node.module for node in checked.body for alias in node.names} == module._HOMES
    assert set(module._HOMES) <= set(module.__all__)
    for name in module._HOMES:
        assert getattr(module, name) is getattr(importlib.import_module(module._HOMES[name]), name)


def test_an_unknown_name_is_an_attribute_error():
    """As for any module."""
    with pytest.raises(AttributeError, match="nothing"):
        _ = jackfield.nothing


def test_importing_the_package_imports_nothing_heavy():
    """What a help text does not need is not paid for."""
    heavy = ["opentelemetry", "prometheus_client", "loguru", "msgspec", "pluggy", "asyncio", "attrs"]
    code = f"import sys, jackfield; print([name for name in {heavy} if name in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # ours
    assert shown.stdout.strip() == "[]"
