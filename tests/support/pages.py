"""Pages of the documentation: found, read with sybil, and run in a folder of their own."""

import contextlib
import doctest
import importlib
import io
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

from sybil.document import Document
from sybil.example import SybilFailure
from sybil.parsers.markdown import CodeBlockParser

ROOT = Path(__file__).parents[2]
PAGES = {str(path.relative_to(ROOT)): path for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))}

_RESULT = re.compile(r"^( *)(host\.call\(.+\)) +# (['\"\d(\[{].*)$", re.MULTILINE)
_FILE = re.compile(r"# ([\w./-]+\.(?:py|toml))\n")


class Page:
    """One page and the folder that it works in.

    - A ```python or ```toml block whose first line is a comment with a file's name is that file: it is written.
    - Any other ```python block runs, after those before it, in one namespace; what it prints must be shown in the
      ```text block that follows it at once, in which `...` stands for what differs from run to run.
    - A comment behind a call that is a value, as in `host.call("math.add", …)  # 3`, is what the call must give.
    - A `pyproject.toml` is installed: its entry points are found from then on, with code in `src/` or beside
      it.
    - Tests that the page shows in `tests/` are run with pytest when the page has ended.
    """

    def __init__(self, path: Path, folder: Path) -> None:
        self.path = path
        self.folder = folder
        self.module = ModuleType("page")
        self._printed = ""

    def document(self) -> Document:
        """Read the page."""
        evaluators = {"python": self._python, "toml": self._toml, "text": self._text}
        return Document.parse(str(self.path), *(CodeBlockParser(*each) for each in evaluators.items()))

    def run(self) -> None:
        """Run every example of it, in order."""
        for example in self.document():
            example.evaluate()
        assert not self._printed, f"{self.path}: the last example prints what the page does not show:\n{self._printed}"
        if list(self.folder.glob("tests/test_*.py")):
            self._pytest()

    def _python(self, example):
        if self._written(example):
            return
        if self._printed:
            raise SybilFailure(example, f"the example before it prints what the page does not show:\n{self._printed}")
        line = example.line + example.parsed.line_offset
        source = _RESULT.sub(r"\1assert \2 == \3", example.parsed)
        code = compile("\n" * line + source, example.path, "exec", dont_inherit=True)
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(code, vars(self.module))  # noqa: S102  # our own documentation
        self._printed = out.getvalue()

    def _text(self, example):
        printed, self._printed = self._printed, ""
        if not printed:
            return  # an illustration
        if not doctest.OutputChecker().check_output(str(example.parsed), printed, doctest.ELLIPSIS):
            raise SybilFailure(example, f"the example before it printed:\n{printed}")

    def _toml(self, example):
        parsed = tomllib.loads(example.parsed)
        if self._written(example) == "pyproject.toml":
            self._install(parsed.get("project", {}))

    def _written(self, example):
        found = _FILE.match(example.parsed)
        if found is None:
            return None
        file = self.folder / found[1]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(example.parsed, "utf-8")
        importlib.invalidate_caches()
        return found[1]

    def _install(self, project):
        """Do what `pip install -e .` does: leave metadata where it is found."""
        name, version = project.get("name", "page"), project.get("version", "0")
        info = self.folder / "installed" / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n", "utf-8")
        lines = []
        for group, entries in project.get("entry-points", {}).items():
            lines += [f"[{group}]", *(f"{entry} = {value}" for entry, value in entries.items())]
        (info / "entry_points.txt").write_text("\n".join(lines) + "\n", "utf-8")

    def write(self) -> None:
        """Write its files, and run nothing."""
        for example in self.document():
            self._written(example)

    def commands(self, first: str) -> list[str]:
        """Give the lines of its ```console blocks in which a program is called."""
        blocks = re.findall(r"^```console\n(.*?)^```", self.path.read_text("utf-8"), re.DOTALL | re.MULTILINE)
        return [line for block in blocks for line in block.splitlines() if first in line.split()]

    @property
    def places(self) -> list[str]:
        """Where the code and the metadata of the page are."""
        return [str(self.folder / each) for each in ("installed", "src", "")]

    def _pytest(self):
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join(self.places)}
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"]
        ran = subprocess.run(
            command, cwd=self.folder, env=environ, capture_output=True, text=True, check=False
        )  # as above
        assert ran.returncode == 0, f"{self.path}: its tests fail:\n{ran.stdout}{ran.stderr}"
