"""Flows in a configuration file."""

from pathlib import Path

import pytest

from jackfield import ConfigError, Flow
from jackfield.config import parse_config

FILE = Path("jackfield.toml")


def flows(text):
    return parse_config(text.encode(), FILE).flows


def faults(text):
    with pytest.raises(ConfigError) as caught:
        parse_config(text.encode(), FILE)
    return [(fault.entry, fault.reason, fault.fix) for fault in caught.value.faults]


def test_a_table_is_the_flow_that_the_builder_makes():
    """Every key."""
    text = """
    [flows.checkout]
    version = "1.0"
    timeout = 30.0
    output = { user = "$auth.user", mails = "$notify" }
    [flows.checkout.steps.auth]
    call = "auth.check"
    with = { token = "$input.token", price = "$$5" }
    [flows.checkout.steps.log]
    call = "audit.log"
    with = "$input"
    after = ["auth"]
    on_error = "continue"
    [flows.checkout.steps.notify]
    call = "mail.notify"
    with = { to = "$item", n = [1, { x = "$auth" }] }
    each = "$auth.friends"
    parallel = 2
    """
    made = (
        Flow("checkout", version="1.0", timeout=30.0, output={"user": "$auth.user", "mails": "$notify"})
        .step("auth", "auth.check", token="$input.token", price="$$5")  # noqa: S106  # none
        .step("log", "audit.log", with_="$input", after=["auth"], on_error="continue")
        .step("notify", "mail.notify", to="$item", n=[1, {"x": "$auth"}], each="$auth.friends", parallel=2)
    )
    assert flows(text) == {"checkout": (made,)}


def test_several_tables_are_versions():
    """In their order."""
    text = (
        '[[flows.f]]\nversion="2"\nsteps.a.call="x"\n[[flows.f]]\nsteps.a.call="y"\n[flows."a.b"]\nsteps.a.call="f"\n'
    )
    found = flows(text)
    assert [flow.key for versions in found.values() for flow in versions] == ["f@2", "f@0", "a.b@0"]


@pytest.mark.parametrize(
    ("text", "entry", "reason", "fix"),
    [
        ("[flows.f]\n", "flows.f.steps (line 1)", "it has no steps", "give it one"),
        ("[flows]\nf = 5\n", "flows.f (line 2)", "expected a table, got 5", ""),
        ("[flows]\nf = [5]\n", "flows.f[0] (line 2)", "expected a table, got 5", ""),
        ("[flows.f]\nsteps = 5\n", "flows.f.steps (line 2)", "expected a table, got 5", ""),
        ("[flows.f.steps]\na = 5\n", "flows.f.steps.a (line 2)", "expected a table, got 5", ""),
        ("[flows.f.steps.a]\n", "flows.f.steps.a.call (line 1)", "required, and missing", ""),
        ('[flows.f.steps.a]\ncall="x"\nafer=[]\n', "flows.f.steps.a.afer (line 3)", "unknown key", "'after'"),
        ('[flows.f.steps.a]\ncall="x"\nafter=[1]\n', "flows.f.steps.a.after[0] (line 3)", "expected a text", ""),
        ('[[flows.f]]\nsteps.a.cal="x"\nsteps.a.call="x"', "flows.f[0].steps.a.cal (line 2)", "unknown key", "'call'"),
        ('[flows.a.b.steps.a]\ncall="x"\n[flows.a.steps.x]\ncall="y"', "flows.a.b (line 1)", "unknown key", "'a.b'"),
        ('[flows.f.steps.send-mail]\ncall="x"\n', "flows.f.steps.send-mail (line 1)", "cannot be a step's name", "'_'"),
        (
            '[flows.f.steps.a]\ncall="x"\nwith={ y = [ "$b" ] }\n',
            "flows.f.steps.a.with.y[0] (line 3)",
            "refers to 'b', which is no step",
            "known here: a, input",
        ),
        (
            '[flows.f.steps.a]\ncall="x"\nafter=["b"]\n[flows.f.steps.b]\ncall="x"\nwith="$a"\n',
            "flows.f.steps.a (line 1)",
            "the steps wait for one another: a → b → a",
            "take one",
        ),
        (
            '[[flows.f]]\nsteps.a.call="x"\n[[flows.f]]\nsteps.a.call="x"\n',
            "flows.f[1].version (line 3)",
            "there is a version '0' of this flow already",
            "a version of its own",
        ),
        (
            '[flows.f.steps.a]\ncall="g"\n[[flows.g]]\nsteps.b.call="h"\n[[flows.g]]\nversion="2"\nsteps.c.call="f"\n',
            "flows.f.steps.a.call (line 2)",
            "flows call one another without an end: f → g → f",
            "take one",
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_line(text, entry, reason, fix):
    """One fault each."""
    (found,) = faults(text)
    assert found[0] == entry
    assert reason in found[1]
    assert fix in found[2]


def test_all_that_is_wrong_is_told_at_once():
    """Of several flows, of the file's form and of what it means."""
    text = '[flows.f]\ntimeot=1\n[flows.f.steps.a]\nwith="$b"\n[flows.g.steps.x]\ncall="y"\nafter=["z"]\n'
    assert [entry for entry, _, _ in faults(text)] == [
        "flows.f.timeot (line 2)",
        "flows.f.steps.a.call (line 3)",
        "flows.f.steps.a.with (line 4)",
        "flows.g.steps.x.after[0] (line 7)",
    ]
