"""What can be wrong with how strangers say who they are."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import attrs

from jackfield.config.auth import AuthConfig, JwtConfig
from jackfield.config.problems import PLACEHOLDER, KeyPath, Problem, quoted

_JWT: Final[KeyPath] = ("auth", "jwt")
_HTTPS: Final = "https://"


def check_auth(auth: AuthConfig, folder: Path, *, tenants: bool) -> tuple[AuthConfig, list[Problem]]:
    """Make the file of keys absolute, and look for what is wrong.

    Args:
        auth: the table.
        folder: that of the configuration file.
        tenants: whether there are any.

    Returns:
        The table with an absolute file, and what is wrong.
    """
    jwt = auth.jwt
    if jwt is None:
        return auth, []
    problems = list(_problems(jwt, folder, tenants))
    keys = jwt.keys if jwt.keys.startswith(_HTTPS) else str(folder / jwt.keys)
    return attrs.evolve(auth, jwt=attrs.evolve(jwt, keys=keys)), problems


def _problems(jwt: JwtConfig, folder: Path, tenants: bool) -> Iterator[Problem]:
    if not tenants:
        yield Problem(_JWT, "tokens name tenants, and there are none", "declare who may call under [tenants]")
    if not jwt.algorithms:
        yield Problem((*_JWT, "algorithms"), "no token could be signed", 'name one, as in ["RS256"]')
    if jwt.keys == PLACEHOLDER or jwt.keys.startswith(_HTTPS):
        return
    if "://" in jwt.keys:
        reason = f"keys come from a file or over https, not from {quoted(jwt.keys)}"
        yield Problem((*_JWT, "keys"), reason, "whoever is on the way could put in their own: write https://…")
    elif not (folder / jwt.keys).is_file():
        fix = f"create it, or correct the path, which is relative to {folder}"
        yield Problem((*_JWT, "keys"), f"there is no file {quoted(jwt.keys)}", fix)
