"""What schemathesis makes of the OpenAPI document, sent to a real door: every answer is one that the document has."""

import importlib.util
import logging
import os
import subprocess
import sys
from typing import Literal

import attrs
import pytest

from jackfield import Host, Rejected, current_call
from jackfield.config import HttpDoorConfig
from jackfield_contrib.http.door import HttpDoor

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("schemathesis") is None, reason="NOT TESTED with schemathesis, which is not installed"
    ),
]

# Each is right, and not for this: a deadline that has passed is a 504, a further header is one of the function's, any
# payload is submitted as long as its function takes it, and functions have a path of their own beside the general one.
LEFT_OUT = (
    "allow_header_conformance",
    "negative_data_rejection",
    "not_a_server_error",
    "positive_data_acceptance",
    "unsupported_method",
)


@attrs.frozen
class Loan:
    amount: int
    months: int = 12
    kind: Literal["house", "car"] = "car"


@attrs.frozen
class Decision:
    granted: bool
    rate: float


def score(loan: Loan) -> Decision:
    """Decide on a loan."""
    if loan.amount < 0:
        raise Rejected("the amount is negative", code="negative")
    return Decision(loan.amount < 10_000, 0.05)


async def load(rows: int = 5) -> int:
    current_call().progress(1, rows)
    return rows


def seen() -> dict[str, str]:
    return dict(current_call().headers)


def join(parts: list[str], by: str = " ") -> str:
    return by.join(parts)


@pytest.mark.parametrize("store", ["memory:", "sqlite:kept.db"])
def test_every_answer_is_one_of_the_document(tmp_path, caplog, store):
    """By status, content type, headers and schema; and nothing of it reaches the server as an exception."""
    (tmp_path / "jackfield.toml").write_text(f'[store]\nurl = "{store}"\n')
    with Host.from_config(tmp_path / "jackfield.toml", observers=()) as host:
        for each in (score, load, seen, join):
            host.register(f"f.{each.__name__}", each)
        door = HttpDoor(host, HttpDoorConfig(port=0))
        host.run_at_home(door.open(), 20.0)
        command = [
            sys.executable, "-m", "schemathesis.cli", "run", f"{door.address}/openapi.json", "--no-color",
            "--max-examples", "25", "--seed", "1", "--exclude-checks", ",".join(LEFT_OUT),
            "--generation-database", "none",
        ]  # fmt: skip
        caplog.set_level(logging.ERROR)
        try:
            path = os.pathsep.join(sys.path)
            env = {**os.environ, "PYTHONPATH": path}
            done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, timeout=110, check=False)
        finally:
            host.run_at_home(door.close(0.0), 20.0)
    shown = done.stdout.decode(errors="replace")
    assert done.returncode == 0, f"{shown[:2_000]}\n…\n{shown[-3_000:]}"
    assert [record.getMessage()[:200] for record in caplog.records if record.name.startswith("uvicorn")] == []
