"""The plugin project that `pluginctl new` writes."""

from string import Template
from typing import Final

_FILES: Final = {
    "pyproject.toml": """\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "$name"
version = "0.1.0"
description = "Functions for jackfield."
readme = "README.md"
requires-python = ">=3.11"
dependencies = ["jackfield"]

[project.optional-dependencies]
test = ["pytest>=8.3"]

# Each line is the name that callers use, and where the function is.
[project.entry-points."jackfield.functions"]
"$package.greet" = "$package.functions:greet"

[tool.setuptools.packages.find]
where = ["src"]

[tool.setuptools.package-data]
$package = ["py.typed"]

[tool.pytest.ini_options]
addopts = ["-ra", "--strict-markers", "--strict-config", "--import-mode=importlib"]
testpaths = ["tests"]
filterwarnings = ["error"]
""",
    "README.md": """\
# $name

Functions that [jackfield](https://pypi.org/project/jackfield/) calls by name.

```console
$$ pip install -e '.[test]'
$$ pytest
$$ pluginctl call $package.greet name=World
"Hello, World!"
```

| function | what it does |
|---|---|
| `$package.greet` | greets somebody by name |

To add a function: write it in `src/$package/functions.py`, add its line to
`[project.entry-points."jackfield.functions"]` in `pyproject.toml`, and install again, since entry points are read from
what is installed. `pluginctl check $name` says what is wrong with it, if anything is.
""",
    ".gitignore": """\
__pycache__/
*.egg-info/
.pytest_cache/
.venv/
build/
dist/
""",
    "src/$package/__init__.py": '''\
"""Functions for jackfield."""
''',
    "src/$package/py.typed": "",
    "src/$package/functions.py": '''\
"""The functions that this plugin advertises. They are ordinary functions, and need nothing of jackfield's."""


def greet(name: str, greeting: str = "Hello") -> str:
    """Greet somebody by name."""
    return f"{greeting}, {name}!"
''',
    "tests/test_functions.py": '''\
"""The functions as callers see them: by name, through a host, with plain data."""

from importlib.metadata import distribution

import pytest
from $package.functions import greet

from jackfield import PayloadError
from jackfield.testing import assert_contract

NAME = "$package.greet"


@pytest.fixture
def host(jackfield_host):
    """A host that serves the function and nothing else."""
    jackfield_host.register(NAME, greet)
    return jackfield_host


def test_it_is_advertised():
    """The name in pyproject.toml leads to this very function."""
    entry_points = distribution("$name").entry_points.select(group="jackfield.functions")
    assert {entry.name: entry.load() for entry in entry_points} == {NAME: greet}


def test_it_greets(host):
    """With the usual greeting, or another."""
    assert host.call(NAME, {"name": "World"}) == "Hello, World!"
    assert host.call(NAME, {"name": "World", "greeting": "Good evening"}) == "Good evening, World!"


def test_a_payload_that_does_not_fit_is_refused(host):
    """The error names the place; nothing has run."""
    with pytest.raises(PayloadError) as caught:
        host.call(NAME, {"name": 7})
    assert caught.value.path == "$$.name"


def test_the_contract_holds():
    """What callers rely on: change this only together with the version."""
    assert_contract(greet, payload=dict[str, str], result=str)
''',
}


def files(name: str, package: str) -> dict[str, str]:
    """Render the files of a project.

    Args:
        name: of the distribution.
        package: of the Python package.

    Returns:
        Path below the project's folder → text.
    """
    values = {"name": name, "package": package}
    return {Template(path).substitute(values): Template(text).substitute(values) for path, text in _FILES.items()}
