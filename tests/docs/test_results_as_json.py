"""The page on results, with the frameworks that it is about, where they are installed."""

import collections
import importlib
import json
import math
import re
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "results-as-json.md"
RESULT = {1: math.nan, "raw": b"hi", "queue": collections.deque([1])}
WRITTEN = {"1": None, "raw": "aGk=", "queue": [1]}


@pytest.fixture
def modules(tmp_path, monkeypatch):
    """The files of the page."""
    for source in re.findall(r"^```python\n(# \w+\.py\n.*?)^```", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE):
        (tmp_path / re.match(r"# (\w+\.py)", source)[1]).write_text(source, "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in ("app", "responses"):
        sys.modules.pop(name, None)


@pytest.mark.usefixtures("modules")
def test_fastapi_returns_what_it_writes():
    """As the page has it."""
    pytest.importorskip("httpx")
    testclient = pytest.importorskip("fastapi.testclient")
    app = importlib.import_module("app")
    with testclient.TestClient(app.app) as client:
        client.app_state["host"].register("page.result", lambda times: RESULT)
        answer = client.post("/call/page.result", json=1)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert json.loads(answer.content) == WRITTEN


@pytest.mark.usefixtures("modules")
def test_starlette_returns_what_it_writes():
    """By the response class of the page."""
    pytest.importorskip("starlette")
    responses = importlib.import_module("responses")
    assert json.loads(responses.Result(RESULT).body) == WRITTEN
