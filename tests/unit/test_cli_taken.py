"""What options say of a value that they do not take: in jackfield's words, whatever reads the command line."""

import pytest
from typer.testing import CliRunner

from jackfield.cli import app


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            "new x --kind functon",
            "'--kind': 'functon' is none of function, async, provider, plugin, hooks; did you mean 'function'?",
        ),
        ("new x --kind cobol", "'--kind': 'cobol' is none of function, async, provider, plugin, hooks\n"),
        ("graph --format dto", "'--format': 'dto' is none of mermaid, dot; did you mean 'dot'?"),
        ("call a.b --timeout x", "'--timeout': 'x' is no number"),
        ("call a.b --timeout 1e999", "'--timeout': '1e999': give a number that is from 0 to "),
        ("call a.b --timeout nan", "'--timeout': 'nan': give a number that is from 0 to "),
        ("call a.b --timeout -1", "'--timeout': '-1': give a number that is from 0 to "),
        ("call a.b --lines - --jobs 2.5", "'--jobs': '2.5' is no whole number"),
        ("call a.b --lines - --jobs 41", "'--jobs': '41': give a whole number that is from 1 to 40"),
        ("check --timeout 0", "'--timeout': '0': give a number that is at least 0.1"),
        ("graph --timeout soon", "'--timeout': 'soon' is no number"),
        (
            "serve c.toml --metrics-port 70000",
            "'70000': give a whole number that is from 0 to 65,535",
        ),
        ("serve c.toml --drain -1", "'--drain': '-1': give a number that is at least 0"),
        ("reload x --keep-warm x", "'--keep-warm': 'x' is no number"),
        ("canary x --version 1 --share half", "'--share': 'half' is no number"),
        ("canary x --ramp half", "'--ramp': 'half' is no number"),
        ("rollback last", "'REVISION': 'last' is no whole number"),
    ],
)
def test_a_value_that_is_not_taken_is_told_in_our_words(arguments, said):
    """With what is taken, and what was probably meant; the exit code is that of wrong usage."""
    result = CliRunner().invoke(app, arguments.split())
    assert result.exit_code == 2
    assert said in result.output


@pytest.mark.parametrize("verb", ["new", "graph", "call", "check", "serve", "reload", "canary", "rollback"])
def test_help_shows_what_is_taken(verb):
    """The words of an option, and a name for a number."""
    out = CliRunner().invoke(app, [verb, "--help"]).output
    assert ("[function|async|provider|plugin|hooks]" in out) == (verb == "new")
    assert ("[mermaid|dot]" in out) == (verb == "graph")
