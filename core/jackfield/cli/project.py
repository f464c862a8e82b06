"""The plugin projects that `pluginctl new` writes: what all of them have; `kinds` has the rest."""

from collections.abc import Mapping
from string import Template
from typing import Final

from jackfield.cli.kinds import KINDS

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
$entry_points
[tool.setuptools.packages.find]
where = ["src"]

[tool.setuptools.package-data]
$package = ["py.typed", "plugin-manifest.yaml"]

[tool.pytest.ini_options]
addopts = ["-ra", "--strict-markers", "--strict-config", "--import-mode=importlib"]
testpaths = ["tests"]
filterwarnings = ["error"]
""",
    "README.md": """\
# $name

$about

```console
$$ pip install -e '.[test]'
$$ pytest
$$ pluginctl call $package.greet name=World
"Hello, World!"
```

| function | what it does |
|---|---|
| `$package.greet` | greets somebody by name |

${parts}To add a function: write it in `src/$package/functions.py`, add its line to
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
}


def files(name: str, package: str, kind: str = "function") -> Mapping[str, str]:
    """Render the files of a project.

    Args:
        name: of the distribution.
        package: of the Python package.
        kind: one of `KINDS`.

    Returns:
        Path below the project's folder → text.
    """
    chosen = KINDS[kind]
    values = {"name": name, "package": package}
    for key, text in (("entry_points", chosen.entry_points), ("about", chosen.about), ("parts", chosen.parts)):
        values[key] = Template(text).substitute(values)
    every = {**_FILES, **chosen.files}
    return {Template(path).substitute(values): Template(text).substitute(values) for path, text in every.items()}
