"""Names of functions and versions: parsed once at the door, never re-checked."""

import re
from collections.abc import Iterable
from itertools import islice

from jackfield.errors import Fault

NAME_LIMIT = 255
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_][A-Za-z0-9_-]*)*", re.ASCII)
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+!_-]{0,63}", re.ASCII)
_NAME_FIX = "use letters, digits, '_' and '-' in parts joined by dots, as in 'text.slugify'"
# difflib compares about 100,000 pairs a second: look only at this many candidates, nearest namespace first.
_CLOSE_CANDIDATES = 2_000


def name_fault(name: object, plugin: str = "") -> Fault | None:
    """Say what is wrong with a function's name.

    Args:
        name: the proposed dotted name.
        plugin: whose it is, for the fault.

    Returns:
        The fault, or None for a good name.
    """
    if not isinstance(name, str):
        return Fault("name", plugin, repr(name)[:80], f"a name must be a string, not {type(name).__name__}", _NAME_FIX)
    if len(name) > NAME_LIMIT:
        reason = f"the name has {len(name):,} characters, {NAME_LIMIT} are allowed"
        return Fault("name", plugin, name[:40] + "…", reason, "choose a shorter name")
    if not _NAME.fullmatch(name):
        return Fault("name", plugin, ascii(name)[1:-1], "the name is not a dotted name", _NAME_FIX)
    return None


def version_fault(version: object, name: str, plugin: str = "") -> Fault | None:
    """Say what is wrong with a version label.

    Args:
        version: the proposed version, as in `1.4.0`.
        name: the function it belongs to.
        plugin: whose it is, for the fault.

    Returns:
        The fault, or None for a good version.
    """
    if isinstance(version, str) and _VERSION.fullmatch(version):
        return None
    fix = "use up to 64 letters, digits and '.+!_-', as in '1.4.0'"
    return Fault("name", plugin, name, f"{ascii(version)[:80]} is not a version", fix)


def close_names(name: str, known: Iterable[str]) -> tuple[str, ...]:
    """Find registered names that resemble an unknown one.

    Those of its own namespace come first, and alone: who writes `text.slugfy` means no function of `test`. Only when
    there is none, others are looked at.

    Args:
        name: the unknown name.
        known: the registered names.

    Returns:
        At most three names, best first.

    Examples:
        >>> close_names("text.slugfy", ["text.slugify", "test.slugify", "text.upper", "risk.score"])
        ('text.slugify',)
        >>> close_names("txet.slugify", ["text.slugify", "text.upper", "risk.score"])
        ('text.slugify',)
    """
    if len(name) > NAME_LIMIT:
        return ()
    namespace, _, rest = name.partition(".")
    last = rest.rpartition(".")[2] or namespace
    near: list[str] = []
    by_last_part: list[str] = []
    others: list[str] = []
    for candidate in known:
        if rest and candidate.partition(".")[0] == namespace:
            near.append(candidate)
        elif candidate.rpartition(".")[2] == last:
            by_last_part.append(candidate)
        elif len(others) < _CLOSE_CANDIDATES:
            others.append(candidate)
    import difflib  # noqa: PLC0415  # for those who have mistyped a name

    if found := difflib.get_close_matches(name, near[:_CLOSE_CANDIDATES], n=3):
        return tuple(found)
    pool = list(islice((*by_last_part, *others), _CLOSE_CANDIDATES))
    found = difflib.get_close_matches(name, pool, n=3)
    # `slugify` for `text.slugify` is a likely mistake, and too far away for difflib.
    exact = [candidate for candidate in by_last_part[:3] if candidate not in found]
    return tuple([*found, *exact][:3])
