"""The examples of the pages on adapters, which the tests of the framework cannot run: they have not their libraries."""

import re
from pathlib import Path

import pytest

PAGES = Path(__file__).parents[2] / "docs" / "how-to"
EXAMPLES = [("serve-http.md", "app.py"), ("webhooks.md", "events.py"), ("client.md", "elsewhere.py")]


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
