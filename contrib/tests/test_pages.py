"""The examples of the pages that the tests of the framework cannot run: they have no adapters."""

import re
from pathlib import Path

import pytest

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to"


@pytest.mark.parametrize("page", ["serve-grpc.md", "serve-http.md", "webhooks.md"])
def test_the_example_prints_what_the_page_shows(page, capsys):
    """As a reader types it."""
    file, code, shown = re.search(
        r"^```python\n# (\w+\.py)\n(.*?)^```\n\n```text\n(.*?)^```",
        (HOW_TO / page).read_text("utf-8"),
        re.DOTALL | re.MULTILINE,
    ).groups()
    exec(compile(code, file, "exec", dont_inherit=True), {"__name__": "app"})  # noqa: S102  # our own page
    assert capsys.readouterr().out == shown
