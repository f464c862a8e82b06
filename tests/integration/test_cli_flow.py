"""`pluginctl flow`, and the flows of a file in `list`, `info`, `explain`, `graph` and `check`."""

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from jackfield import Flow, Host
from jackfield.cli import app
from jackfield.flow.drawing import beside, draw
from jackfield.flow.shown import flow_from, levels, plain
from jackfield.flow.watching import StepReport, StepState
from jackfield.operations.verbs import verbs

PLUGIN = """
def check(token: str) -> dict[str, str]:
    if token == "bad":
        raise ValueError("no such token")
    return {"mail": token + "@example.com"}

def warm(user: str) -> None:
    pass

def notify(to: str) -> str:
    print("printed")
    return "told " + to
"""
CONFIG = """
[[plugin]]
name = "shop"
path = "./shop.py"
functions = { "auth.check" = "check", "cache.warm" = "warm", "audit.log" = "warm", "mail.notify" = "notify" }
[[flows.checkout]]
version = "1.0"
timeout = 30.0
[flows.checkout.steps.auth]
call = "auth.check"
with = { token = "$input.token" }
[flows.checkout.steps.cache]
call = "cache.warm"
with = { user = "$auth.mail" }
[flows.checkout.steps.log]
call = "audit.log"
with = { user = "$item" }
each = "$input.items"
on_error = "continue"
after = ["auth"]
[flows.checkout.steps.notify]
call = "mail.notify"
with = { to = "$auth.mail" }
after = ["cache", "log"]
[[flows.checkout]]
version = "2.0"
steps.auth.call = "auth.check"
"""


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """A folder with the file, which is the working directory."""
    (tmp_path / "shop.py").write_text(PLUGIN)
    (tmp_path / "jackfield.toml").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def told(*arguments, code=0):
    """Run a verb here."""
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == code, result.output
    return result.stdout


def ran(*arguments):
    """Run a verb in a process of its own."""
    done = subprocess.run(  # ours
        [sys.executable, "-m", "jackfield", *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.usefixtures("shop")
def test_flows_are_listed_and_shown():
    """From the file alone."""
    assert told("flow", "show").splitlines() == ["checkout@1.0  auth → cache, log → notify", "checkout@2.0  auth"]
    shown = told("flow", "show", "checkout")
    assert shown.splitlines()[0] == "checkout@1.0  auth → cache, log → notify, 30 s"
    assert "log     audit.log    after auth; each $input.items; may fail" in shown
    assert json.loads(told("flow", "show", "checkout", "--version", "2.0", "--json"))["steps"]["auth"]["needs"] == []
    assert [flow["version"] for flow in json.loads(told("flow", "show", "--json"))] == ["1.0", "2.0"]


@pytest.mark.usefixtures("shop")
def test_what_is_not_there_is_told_with_close_names():
    """The flow, the version, the file."""
    for arguments, said in (
        (("show", "chekout"), "did you mean 'checkout'?"),
        (("graph", "checkout", "--version", "3"), "there are 1.0, 2.0"),
        (("show", "--config", "other.toml"), "cannot be read"),
    ):
        result = CliRunner().invoke(app, ("flow", *arguments))
        assert result.exit_code == 1
        assert said in result.stderr


@pytest.mark.usefixtures("shop")
def test_flows_are_drawn():
    """In both languages."""
    assert told("flow", "graph", "checkout").startswith('flowchart LR\n    f0_0["auth<br/>auth.check"]:::step\n')
    assert told("flow", "graph", "checkout", "--format", "dot").startswith("digraph flow {")
    drawn = json.loads(told("flow", "graph", "checkout", "--json"))
    assert drawn["format"] == "mermaid"
    assert 'f0_2[["log<br/>audit.log<br/>each #36;input.items"]]' in drawn["drawing"]
    assert "f0_2 -.-> f0_3" in drawn["drawing"]


@pytest.mark.usefixtures("shop")
def test_the_verbs_that_show_what_there_is_show_flows():
    """When they are given the file."""
    rows = json.loads(told("list", "checkout", "--config", "jackfield.toml", "--json"))
    assert [(row["name"], row["kind"], row["version"]) for row in rows] == [
        ("checkout", "flow", "1.0"),
        ("checkout", "flow", "2.0"),
    ]
    assert "steps      auth    auth.check" in told("info", "checkout", "--config", "jackfield.toml")
    assert len(json.loads(told("info", "checkout", "--config", "jackfield.toml", "--json"))["flows"]) == 2
    said = told("explain", "checkout", "--config", "jackfield.toml")
    assert "served    checkout@1.0 of jackfield.toml, a flow: auth → cache, log → notify" in said
    assert json.loads(told("list", "checkout", "--json")) == []


def test_a_run_gives_the_result_and_tells_of_each_step(shop):
    """What plugins print is no result; the drawing has the states."""
    code, out, err = ran(
        "flow", "run", "checkout", "--payload", '{"token": "ada", "items": ["x", 2, "y"]}', "--graph", "run.mmd"
    )
    assert (code, json.loads(out)) == (0, "told ada@example.com")
    assert "printed" in err
    assert "auth.check   ok" in err
    assert "ok 2 of 3" in err
    drawing = (shop / "run.mmd").read_text()
    assert "]:::ok" in drawing
    assert "]]:::ok" in drawing


@pytest.mark.slow
@pytest.mark.usefixtures("shop")
def test_a_run_that_fails_says_which_step():
    """With exit code 1; as JSON, too."""
    code, out, err = ran("flow", "run", "checkout", "token=bad", "items=[]")
    assert (code, out) == (1, "")
    assert (
        "step 'auth' (auth.check) of the flow checkout: auth.check@0 [shop] crashed: ValueError: no such token" in err
    )
    code, out, _ = ran("flow", "run", "checkout", "token=bad", "items=[]", "--json")
    told = json.loads(out)
    assert code == 1
    assert (told["result"], told["error"]["outcome"]) == (None, "crashed")
    states = {name: step["state"] for name, step in told["steps"].items()}
    assert states == {"auth": "failed", "cache": "left out", "log": "left out", "notify": "left out"}


@pytest.mark.slow
@pytest.mark.usefixtures("shop")
def test_a_step_that_could_call_nothing_is_told_of_as_well():
    """The flow goes on without it, and so says a line."""
    code, out, err = ran("flow", "run", "checkout", "token=ada", "--json")
    states = {name: step["state"] for name, step in json.loads(out)["steps"].items()}
    assert code == 0
    assert states == {"auth": "ok", "cache": "ok", "log": "failed", "notify": "left out"}
    assert "failed" in ran("flow", "run", "checkout", "token=ada")[2]
    assert not err


@pytest.mark.slow
def test_check_finds_what_does_not_fit(shop):
    """Without starting anything."""
    (shop / "jackfield.toml").write_text(CONFIG.replace('"$auth.mail"', '"$auth"').replace("audit.log", "audit.lgo"))
    (shop / "jackfield.toml").write_text(
        (shop / "jackfield.toml").read_text().replace('"audit.lgo" =', '"audit.log" =')
    )
    code, out, _ = ran("check", "jackfield.toml", "--json")
    found = json.loads(out)
    assert code == 1
    assert [fault["entry"] for fault in found["faults"] if fault["stage"] == "flow"] == [
        "checkout@1.0 steps.log.call",
        "checkout@1.0 steps.cache.with",
        "checkout@1.0 steps.notify.with",
        "checkout@2.0 steps.auth.with",
    ]
    assert "checkout" in found["functions"]


# --- What they are made of ------------------------------------------------------------------------------------------

FORK = Flow("f", timeout=2.0, output={"b": "$b"}).step("a", "x.a").step("b", "x.b", v="$a", each="$a", parallel=3)
FORK = FORK.step("c", "x.c", after=["a"], on_error="continue").step("d", 'x.d"', with_="$c")


def test_plain_data_makes_the_flow_again():
    """As it comes over the control socket."""
    assert flow_from(json.loads(json.dumps(plain(FORK)))) == FORK
    assert levels(FORK) == (("a",), ("b", "c"), ("d",))
    with Host(observers=()) as host:
        host.register("x.a", lambda: 1)
        host.add_flow(Flow("g").step("a", "x.a"))
        assert (
            [flow_from(each) for each in verbs(host)["flows"]({})] == list(host.flows) == [Flow("g").step("a", "x.a")]
        )


@pytest.mark.parametrize("style", ["mermaid", "dot"])
def test_states_have_colours(style):
    """And what they are is written, for who sees none."""
    report = {name: StepReport(state, 1, 0, 0.5) for name, state in zip("abcd", list(StepState)[1:5], strict=True)}
    report["d"] = StepReport(StepState.LEFT_OUT)
    drawing = draw(FORK, style, report)
    for state in ("running", "ok", "failed", "left_out"):
        assert state in drawing
    assert "left out" in drawing
    assert 'x.d"' not in drawing.replace('x.d\\"', "")


@pytest.mark.parametrize("style", ["mermaid", "dot"])
def test_the_graph_of_a_host_has_its_flows(style):
    """Each in a frame of its own."""
    with Host(observers=()) as host:
        host.register("x.a", lambda: 1)
        before = host.graph(style)
        host.add_flow(Flow("g").step("a", "x.a"))
        after = host.graph(style)
    assert "g@0" in after
    assert after == beside(before, [Flow("g").step("a", "x.a")], style)
    assert after.count("{") == after.count("}")
