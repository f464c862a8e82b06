"""API keys: made, known by their digests alone, found without asking every tenant."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from jackfield.calls.access import permissions
from jackfield.cli import app
from jackfield.config import TenantConfig, parse_config
from jackfield.errors import ConfigError
from jackfield.identity import digest_of, holder, new_key

HERE = Path("jackfield.toml")


def parsed(text):
    return parse_config(text.encode(), HERE)


@settings(deadline=None, max_examples=50)
@given(st.dictionaries(st.sampled_from("abcdef"), st.sets(st.text(min_size=1), max_size=4), max_size=5), st.text())
def test_a_key_is_its_tenants_and_nothing_else_is_one(held, stranger):
    """Whatever keys there are; a key of two is a fault of the file, and not looked at here."""
    owners = {key: name for name, keys in held.items() for key in keys}
    tenants = {
        name: TenantConfig(keys=tuple(digest_of(key) for key in keys if owners[key] == name))
        for name, keys in held.items()
    }
    known = permissions(tenants).keys
    assert {key: holder(known, key.encode()) for key in owners} == owners
    if stranger not in owners:
        assert holder(known, stranger.encode()) is None
    for key in owners:
        assert holder(known, digest_of(key).encode()) is None


def test_digests_that_begin_alike_are_told_apart():
    """The first bytes say where to look, and all of them who it is."""
    one = digest_of("one")
    other = one[:-1] + ("0" if one[-1] != "0" else "1")
    keys = permissions({"a": TenantConfig(keys=(other,)), "b": TenantConfig(keys=(one,))}).keys
    assert len(keys) == 1
    assert holder(keys, b"one") == "b"


def test_no_representation_shows_a_digest():
    """They are no secrets, and nobody needs them in a log."""
    tenants = {"a": TenantConfig(keys=(digest_of("one"),))}
    assert "sha256" not in repr(tenants)
    assert digest_of("one")[-10:] not in repr(permissions(tenants))


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        ('keys = ["{key}"]', "got another text"),
        ('keys = ["sha256:{key}"]', "got another text"),
        ('keys = "{key}"', "expected an array"),
        ('keys = ["{upper}"]', "got another text"),
        ("keys = [7]", "got 7"),
    ],
)
def test_a_key_in_the_file_is_refused_and_not_repeated(said, fault):
    """Whoever writes the key itself must not find it in a log."""
    key = new_key()
    text = said.format(key=key, upper=digest_of(key).upper())
    with pytest.raises(ConfigError, match=re.escape(fault)) as caught:
        parsed(f"[tenants.t]\n{text}\n")
    assert key not in str(caught.value)
    assert key not in repr(caught.value)
    assert digest_of(key).upper() not in str(caught.value)


def test_a_key_of_two_tenants_is_a_fault():
    """Whose call would it be?"""
    digest = digest_of("shared")
    with pytest.raises(ConfigError, match="the key is one of 'a', too"):
        parsed(f'[tenants.a]\nkeys = ["{digest}"]\n[tenants.b]\nkeys = ["{digest}"]\n')
    assert parsed(f'[tenants.a]\nkeys = ["{digest}", "{digest}"]\n').tenants["a"].keys == (digest, digest)


@pytest.mark.parametrize("tenant", ["t-8823", "acme.shop", 'say "hi"', "köln"])
def test_the_command_makes_a_key_and_the_lines_that_make_it_good(tenant):
    """The lines are TOML, whatever the tenant is called; the key is not among them."""
    done = CliRunner().invoke(app, ["key", tenant, "--json"])
    assert done.exit_code == 0
    made = json.loads(done.stdout)
    assert re.fullmatch(r"jf_[A-Za-z0-9]{43}", made["key"])
    found = parsed(f"{made['table']}\n{made['line']}\n").tenants
    assert made["tenant"] == tenant
    assert made["key"] not in made["line"]
    assert holder(permissions(found).keys, made["key"].encode()) == tenant


def test_the_command_prints_it_once():
    """The key on the first line, what goes into the file below."""
    done = CliRunner().invoke(app, ["key", "t-8823"])
    key, table, line = done.stdout.splitlines()
    assert (table, line) == ("[tenants.t-8823]", f'keys = ["{digest_of(key)}"]')
    assert "shown once" in done.stderr


@pytest.mark.parametrize("tenant", ["", "a\nb", "x" * 1_000])
def test_what_can_be_no_tenant_gets_no_key(tenant):
    """And the exit code says so."""
    done = CliRunner().invoke(app, ["key", tenant])
    assert (done.exit_code, done.stdout) == (1, "")
    assert "cannot be a tenant's name" in done.stderr
