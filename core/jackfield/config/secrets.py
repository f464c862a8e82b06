"""Secrets by reference: a configuration never holds one, it says where one is."""

import os
import re
from pathlib import Path
from typing import Any

import attrs

from jackfield.config.problems import KeyPath, Problem, quoted
from jackfield.errors import ConfigError

_LIMIT = 64 * 1024
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_SECRET_WORDS = frozenset({"password", "passwd", "pwd", "passphrase", "secret", "token", "apikey"})
_SECRET_PAIRS = frozenset(
    {("api", "key"), ("access", "key"), ("private", "key"), ("secret", "key"), ("signing", "key")}
)
_URL_WITH_PASSWORD = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/\s:@]*:[^/\s@]+@")
_FIX = "put it into an environment variable or a file and write 'env:NAME' or 'file:/path' here"


@attrs.frozen(repr=False)
class Secret:
    """Where a secret is; the secret itself is read when it is asked for, and kept nowhere.

    Printing, formatting, comparing and pickling one concern the reference alone, so that a secret reaches no log, no
    report and no other process by accident, and a rotated one is seen at the next `reveal`.

    Attributes:
        reference: `env:NAME` or `file:/path`.

    Examples:
        >>> os.environ["DOCTEST_PASSWORD"] = "hunter2"
        >>> secret = Secret("env:DOCTEST_PASSWORD")
        >>> f"{secret}"
        "Secret('env:DOCTEST_PASSWORD')"
        >>> secret.reveal()
        'hunter2'
        >>> del os.environ["DOCTEST_PASSWORD"]
    """

    reference: str

    def reveal(self) -> str:
        """Read the secret.

        Returns:
            The variable's value, or the file's text without one trailing newline.

        Raises:
            ConfigError: when the variable is not set, or the file cannot be read, or either is empty.
        """
        kind, _, where = self.reference.partition(":")
        value, reason = _from_environment(where) if kind == "env" else _from_file(where)
        if reason:
            raise ConfigError(where, None, self.reference, reason)
        return value

    def __repr__(self) -> str:
        """Show the reference."""
        return f"Secret({self.reference!r})"

    def __format__(self, spec: str) -> str:
        """Format the reference, for `f"{secret:>30}"` too."""
        return format(repr(self), spec)


def resolve_secrets(options: dict[str, Any], path: KeyPath, folder: Path) -> tuple[dict[str, Any], list[Problem]]:
    """Replace each reference in a plugin's options by a `Secret`, and find what is wrong with them.

    Every string `env:…` or `file:…` is a reference, but `file://…` is an ordinary URL; `env::x` stands for the text
    `env:x`, and `file::x` for `file:x`. A relative file is looked for in the configuration's folder. The permissions of
    a secret's file are its owner's business: container platforms mount secrets readable for all inside the container.

    Args:
        options: the table as it was read, of bounded nesting.
        path: where it stands in the document.
        folder: the configuration file's folder.

    Returns:
        The options with secrets, and the problems: references that lead nowhere, and secrets written in plain text.
    """
    problems: list[Problem] = []

    def resolve(value: Any, at: KeyPath, *, secret: bool) -> Any:
        if isinstance(value, dict):
            return {
                key: resolve(
                    item, (*at, key), secret=_looks_secret(key, item) or (secret and not isinstance(item, int))
                )
                for key, item in value.items()
            }
        if isinstance(value, list):
            return [resolve(item, (*at, index), secret=secret) for index, item in enumerate(value)]
        if isinstance(value, str) and _is_reference(value):
            found, reason, fix = _reference(value, folder)
            if reason:
                problems.append(Problem(at, reason, fix))
            return found
        if _is_plain_secret(value, secret):
            problems.append(Problem(at, "a secret in plain text", _FIX))
        return re.sub(r"\A(env|file)::", r"\1:", value) if isinstance(value, str) else value

    return resolve(options, path, secret=False), problems


def _is_reference(value: str) -> bool:
    return value.startswith(("env:", "file:")) and not value.startswith(("env::", "file::", "file://"))


def _is_plain_secret(value: object, secret: bool) -> bool:
    if isinstance(value, str):
        return bool(value) and (secret or _URL_WITH_PASSWORD.match(value) is not None)
    return secret and isinstance(value, int) and not isinstance(value, bool)


def _looks_secret(key: str, value: object) -> bool:
    """Tell whether a key names a secret: by its last words, so that `token_url` and `password_policy` do not."""
    words = [word.lower() for word in _WORD.findall(key)]
    if not words:
        return False
    if words[-1].endswith("s"):
        if isinstance(value, int):  # `max_tokens = 4096` counts tokens
            return False
        words[-1] = words[-1].removesuffix("s")
    return words[-1] in _SECRET_WORDS or tuple(words[-2:]) in _SECRET_PAIRS


def _reference(value: str, folder: Path) -> tuple[Secret, str, str]:
    """Give the secret, and the reason and the fix when it leads nowhere."""
    kind, _, where = value.partition(":")
    if kind == "env":
        if not _ENV_NAME.fullmatch(where):
            reason = f"{quoted(where)} is not the name of an environment variable"
            return Secret(value), reason, "write 'env:NAME', or 'env::…' for text that begins with 'env:'"
        _, reason = _from_environment(where)
        return Secret(value), reason and f"the environment variable {where} {reason}", f"set {where} before the start"
    target = str(folder / where)
    _, reason = _from_file(target) if where else ("", "names no file")
    fix = "create the file, or correct the path" if where else "write 'file:/path'"
    return Secret(f"file:{target}"), reason and f"the secret's file {quoted(where)} {reason}", fix


def _from_environment(name: str) -> tuple[str, str]:
    value = os.environ.get(name)
    if value is None:
        return "", "is not set"
    return value, "" if value else "is empty"


def _from_file(name: str) -> tuple[str, str]:
    try:
        # Asked before it is opened: opening a pipe would wait for its writer.
        if not os.path.isfile(name):  # noqa: PTH113  # unlike Path.is_file, false for any bad name on every Python
            return "", "is not a regular file" if os.path.exists(name) else "does not exist"  # noqa: PTH110  # as above
        with open(name, "rb") as file:  # noqa: PTH123  # as above
            data = file.read(_LIMIT + 1)
        text = data.decode("utf-8")
    except OSError as error:
        return "", f"cannot be read: {error.strerror or error}"
    except UnicodeDecodeError:
        return "", "is not UTF-8 text"
    if len(data) > _LIMIT:
        return "", f"is larger than {_LIMIT:,} bytes"
    value = text.removesuffix("\n").removesuffix("\r") if text.endswith("\n") else text
    return value, "" if value else "is empty"
