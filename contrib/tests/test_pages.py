"""The example of the page on HTTP, which the tests of the framework cannot run: they have no Starlette."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "serve-http.md"


def test_the_example_prints_what_the_page_shows(capsys):
    """As a reader types it."""
    code, shown = re.search(
        r"^```python\n# app\.py\n(.*?)^```\n\n```text\n(.*?)^```", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE
    ).groups()
    exec(compile(code, "app.py", "exec", dont_inherit=True), {"__name__": "app"})  # noqa: S102  # our own page
    assert capsys.readouterr().out == shown
