"""Secrets in a plugin's options: by reference only, and never shown."""

import copy
import logging
import pickle
from pathlib import Path

import pytest

from jackfield.config import Secret, parse_config
from jackfield.errors import ConfigError


def options(tmp_path: Path, text: str):
    """Load one plugin with these options."""
    whole = f'[[plugin]]\nname = "a"\npath = "pkg"\n[plugin.options]\n{text}\n'
    return parse_config(whole.encode(), tmp_path / "jackfield.toml").plugins["a"].options


def fault(tmp_path: Path, text: str):
    """Load one plugin with faulty options; give its one fault."""
    with pytest.raises(ConfigError) as caught:
        options(tmp_path, text)
    (found,) = caught.value.faults
    assert found.plugin == "a"
    return found


def test_a_reference_to_the_environment_is_revealed_when_asked_for(tmp_path, monkeypatch):
    """The value is read at `reveal`, so a changed one is seen."""
    monkeypatch.setenv("DB_PASSWORD", "one")
    secret = options(tmp_path, 'password = "env:DB_PASSWORD"')["password"]
    assert secret == Secret("env:DB_PASSWORD")
    assert secret.reveal() == "one"
    monkeypatch.setenv("DB_PASSWORD", "two")
    assert secret.reveal() == "two"


@pytest.mark.parametrize(
    ("content", "value"),
    [
        (b"hunter2", "hunter2"),
        (b"hunter2\n", "hunter2"),
        (b"hunter2\r\n", "hunter2"),
        (b"a\nb\n\n", "a\nb\n"),
        (b"a\r", "a\r"),
    ],
)
def test_a_secret_file_loses_one_line_end(tmp_path, content, value):
    """What an editor or `echo` adds is no part of the secret; anything else is."""
    (tmp_path / "secret").write_bytes(content)
    assert options(tmp_path, f'password = "file:{tmp_path}/secret"')["password"].reveal() == value


def test_a_relative_secret_file_is_looked_for_beside_the_configuration(tmp_path, monkeypatch):
    """The working directory does not matter, neither when it is loaded nor when it is revealed."""
    (tmp_path / "secret").write_text("x")
    secret = options(tmp_path, 'password = "file:secret"')["password"]
    monkeypatch.chdir("/")
    assert secret.reveal() == "x"
    assert secret.reference == f"file:{tmp_path / 'secret'}"


def test_a_rotated_secret_file_is_seen_and_a_vanished_one_is_an_error(tmp_path):
    """The error names the reference."""
    file = tmp_path / "secret"
    file.write_text("one")
    secret = options(tmp_path, 'password = "file:secret"')["password"]
    file.write_text("two")
    assert secret.reveal() == "two"
    file.unlink()
    with pytest.raises(ConfigError, match=f"file:{file}: does not exist"):
        secret.reveal()


def test_references_are_found_anywhere_in_the_options(tmp_path, monkeypatch):
    """In tables and arrays, under any key."""
    monkeypatch.setenv("URL", "postgres://u:p@h/db")
    found = options(tmp_path, 'db = { urls = ["env:URL", "x"], n = 1, since = 2024-01-01 }')
    assert found["db"]["urls"] == [Secret("env:URL"), "x"]


def test_nothing_shows_a_secret(tmp_path, monkeypatch, caplog):
    """Neither printing, formatting, logging, pickling nor the whole configuration's text."""
    monkeypatch.setenv("DB_PASSWORD", "hunter2")
    whole = b'[[plugin]]\nname = "a"\npath = "pkg"\noptions = { password = "env:DB_PASSWORD" }\n'
    config = parse_config(whole, tmp_path / "jackfield.toml")
    secret = config.plugins["a"].options["password"]
    logging.getLogger("test").warning("%s %r", secret, secret)
    shown = [repr(secret), str(secret), f"{secret}", f"{secret:>40}", repr(config), caplog.text]
    assert not any("hunter2" in text for text in shown)
    assert f"{secret:>40}".endswith("Secret('env:DB_PASSWORD')")
    pickled = pickle.dumps(config.plugins["a"])
    assert b"hunter2" not in pickled
    assert pickle.loads(pickled).options["password"].reveal() == "hunter2"  # noqa: S301  # our own bytes
    assert copy.deepcopy(secret) == secret
    assert hash(secret) == hash(Secret("env:DB_PASSWORD"))


def test_a_missing_or_empty_variable_is_a_fault(tmp_path, monkeypatch):
    """At load, not at the first use."""
    monkeypatch.delenv("NOT_SET", raising=False)
    found = fault(tmp_path, 'password = "env:NOT_SET"')
    assert found.entry == "plugin[0].options.password (line 5)"
    assert found.reason == "the environment variable NOT_SET is not set"
    assert found.fix == "set NOT_SET before the start"
    monkeypatch.setenv("NOT_SET", "")
    assert fault(tmp_path, 'x = "env:NOT_SET"').reason == "the environment variable NOT_SET is empty"
    assert "is not the name of an environment variable" in fault(tmp_path, 'x = "env:a b"').reason
    assert "is not the name of an environment variable" in fault(tmp_path, 'x = "env:"').reason


def test_a_secret_file_that_cannot_be_one_is_a_fault(tmp_path):
    """Missing, a folder, empty, huge, not text, no name at all: each says what it is."""
    (tmp_path / "empty").touch()
    (tmp_path / "newline").write_text("\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "large").write_bytes(b"x" * 100_000)
    reasons = {
        name: fault(tmp_path, f'x = "file:{name}"').reason
        for name in ("missing", ".", "empty", "newline", "binary", "large", "", "nul\\u0000")
    }
    assert reasons == {
        "missing": "the secret's file 'missing' does not exist",
        ".": "the secret's file '.' is not a regular file",
        "empty": "the secret's file 'empty' is empty",
        "newline": "the secret's file 'newline' is empty",
        "binary": "the secret's file 'binary' is not UTF-8 text",
        "large": "the secret's file 'large' is larger than 65,536 bytes",
        "": "the secret's file '' names no file",
        "nul\\u0000": "the secret's file 'nul\\x00' does not exist",
    }


@pytest.mark.parametrize(
    "text",
    [
        'password = "hunter2"',
        'db_password = "hunter2"',
        'dbPassword = "hunter2"',
        'API_KEY = "hunter2"',
        'apiKey = "hunter2"',
        'auth-token = "hunter2"',
        'client_secret = "hunter2"',
        "password = 1234",
        'db = { tokens = ["hunter2"] }',
        'secrets = { db = "hunter2" }',
        'private_key = """\nhunter2"""',
        'password = "file:///run/secrets/db"',
        'password = "env::hunter2"',
        'url = "postgres://user:hunter2@host/db"',
    ],
)
def test_a_secret_in_plain_text_is_a_fault_that_does_not_repeat_it(tmp_path, text):
    """The fix says how to write it instead."""
    found = fault(tmp_path, text)
    assert found.reason == "a secret in plain text"
    assert "env:NAME" in found.fix
    assert "hunter2" not in str(found)
    assert "(line 5)" in found.entry


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("max_tokens = 4096", 4096),
        ('token_url = "https://x/y"', "https://x/y"),
        ("password_required = true", True),
        ("password = true", True),
        ('password = ""', ""),
        ('tokenizer = "x"', "x"),
        ('monkey = "x"', "x"),
        ('key = "x"', "x"),
        ('url = "https://host:80/a@b"', "https://host:80/a@b"),
        ('url = "postgres://user@host/db"', "postgres://user@host/db"),
        ('data = "file:///data/x.csv"', "file:///data/x.csv"),
        ('tag = "env::prod"', "env:prod"),
        ('note = "file::x"', "file:x"),
        ('environment = "environment: x"', "environment: x"),
        ('"" = "x"', "x"),
    ],
)
def test_what_only_resembles_a_secret_or_a_reference_is_plain_text(tmp_path, text, value):
    """Numbers of tokens, URLs, empty texts, and doubled colons for texts that begin like a reference."""
    assert list(options(tmp_path, text).values()) == [value]
