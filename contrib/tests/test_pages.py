"""The examples of the pages on adapters, which the tests of the framework cannot run: they have not their libraries."""

import re
from pathlib import Path

import attrs
import pytest

from jackfield import Host, SubmissionConflict
from jackfield.errors import OUTCOMES
from jackfield_contrib.http import Bounds
from jackfield_contrib.http.catalogue import Catalogue
from jackfield_contrib.problems import _TOLD

PAGES = Path(__file__).parents[2] / "docs" / "how-to"
EXAMPLES = [
    ("serve-grpc.md", "client.py"),
    ("serve-grpc.md", "reflected.py"),
    ("serve-http.md", "app.py"),
    ("webhooks.md", "events.py"),
    ("client.md", "elsewhere.py"),
    ("client.md", "many.py"),
]


@pytest.mark.parametrize(("page", "file"), EXAMPLES)
def test_the_example_prints_what_the_page_shows(page, file, capsys):
    """As a reader types it."""
    code, shown = re.search(
        rf"^```python\n# {re.escape(file)}\n(.*?)^```\n\n```text\n(.*?)^```",
        (PAGES / page).read_text("utf-8"),
        re.DOTALL | re.MULTILINE,
    ).groups()
    exec(compile(code, file, "exec", dont_inherit=True), {"__name__": "app"})  # noqa: S102  # our own page
    assert capsys.readouterr().out == shown


REFERENCE = (PAGES.parent / "reference" / "http-door.md").read_text("utf-8")


def rows_of(title):
    """Give the cells of the table below a heading of the reference, without their backquotes."""
    part = REFERENCE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    lines = [line for line in part.splitlines() if line.startswith("| ")]
    return [[cell.strip().replace("`", "") for cell in line.strip("| ").split(" | ")] for line in lines[1:]]


def test_the_reference_names_every_path():
    """As the OpenAPI document has them."""
    told = {(path, method) for path, methods, *_ in rows_of("Requests") for method in methods.lower().split(", ")}
    with Host(observers=()) as host:
        host.register("NAME", test_the_reference_names_every_path)
        paths = Catalogue(host, Bounds()).openapi()["paths"]
    known = {(path, method) for path, item in paths.items() for method in item if method != "parameters"}
    assert known <= told


@pytest.mark.parametrize("kind", [kind for kind in _TOLD if kind is not SubmissionConflict])
def test_the_reference_names_what_each_problem_has(kind):
    """Status, outcome and members."""
    rows = {row[2]: row for row in rows_of("Problem documents")}
    status, outcome, _, shown = rows[kind.__name__]
    assert (int(status), outcome) == (OUTCOMES[kind.outcome].http, kind.outcome.value)
    assert tuple(re.split(r", |; ", shown)[: len(_TOLD[kind])]) == _TOLD[kind]


def test_the_reference_names_each_bound():
    """With its default."""
    told = {field: float(default.replace(",", "")) for field, default, _ in rows_of("Bounds")}
    assert told == attrs.asdict(Bounds())
