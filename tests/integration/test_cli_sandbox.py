"""`pluginctl sandbox`: what can be had, what is missing, and how to get it."""

import json
import sys

import pytest
from typer.testing import CliRunner

from jackfield.cli import app

if sys.platform != "linux":
    pytest.skip("sandboxes are Linux's", allow_module_level=True)


def run(*arguments):
    return CliRunner().invoke(app, ["sandbox", *arguments], prog_name="pluginctl")


@pytest.mark.slow
def test_each_tier_is_there_or_says_why_not():
    """As lines, and as JSON; the exit code says whether there is any."""
    told = json.loads(run("--json").stdout)
    lines = run().stdout.splitlines()
    assert [each["tier"] for each in told["tiers"]] == ["self", "namespaces", "oci"]
    for line, tier in zip([each for each in lines if each[0] in "✓✗"], told["tiers"], strict=True):
        assert tier["available"] is (tier["reason"] == "")
        assert line[0] == ("✓" if tier["available"] else "✗")
        assert tier["reason"] in line
    assert run().exit_code == (0 if any(each["available"] for each in told["tiers"]) else 1)
    assert set(told["cgroups"]["homes"]) | set(told["cgroups"]["missing"]) == {"cpu", "memory", "pids"}


@pytest.mark.slow
def test_a_runtime_can_be_named():
    """One that is not there is told, with the fix."""
    told = json.loads(run("--oci", "/opt/none/runtime", "--json").stdout)
    assert told["tiers"][2]["reason"].startswith("/opt/none/runtime not found → apt install runc")
