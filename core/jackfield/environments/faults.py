"""What can be wrong with an environment, as one error: the installer's own words, shortened, and what to do."""

import errno
import re
from collections.abc import Sequence
from typing import Final

from jackfield.errors import Fault, PluginError

_LONGEST: Final = 500
_FRAME: Final = re.compile(r"[\u00d7\u2570\u2500\u25b6\u2502\u251c]+")  # what uv draws
_CREDENTIALS: Final = re.compile(r"(?<=://)[^/@\s]+@")
_LABEL: Final = re.compile(r"^((error|cause|caused by|hint)\s*:\s*)+", re.IGNORECASE)
_LINE: Final = re.compile(r"-r \S*wanted\.txt \(line (\d+)\)")
_PLACE: Final = re.compile(r" \(from \S+\.whl\)")
_NOISE: Final = re.compile(
    r"""
    warning:\ .* | \[notice\].* | info:\ pip\ is\ looking\ at\ .*
    | no\ solution\ found\ when\ resolving\ dependencies:? | .*ResolutionImpossible.* | .*for\ help\ visit.*
    | to\ fix\ this\ you\ could\ try.* | \d\.\ (loosen|remove)\ .*
    | additionally,\ some\ packages\ in\ these\ conflicts\ .*
    | (looking\ in|processing|collecting|saved|using\ cached|downloading)\ .*
    """,
    re.IGNORECASE | re.VERBOSE,
)
_AWAY: Final = re.compile(
    r"error sending request|dns error|failed to lookup address|connection (refused|reset|timed out|error)|"
    r"connect timeout|operation timed out|failed to establish a new connection|name resolution|max retries exceeded|"
    r"tls handshake|certificate verify failed|could not fetch url .* - skipping|NewConnectionError|unreachable|"
    r"failed to fetch: .*5\d\d|network connectivity is disabled",
    re.IGNORECASE,
)
_FULL: Final = re.compile(r"no space left on device|os error 28\b|disk quota exceeded|not enough space", re.IGNORECASE)
_WHEELS: Final = re.compile(
    r"building (source distributions )?is disabled|no usable wheels|no wheels with|--no-build|only-binary",
    re.IGNORECASE,
)
_HASH: Final = re.compile(r"hash mismatch|do not match the hashes|hashes are required|hash-checking", re.IGNORECASE)
_OURS: Final = re.compile(r"\bjackfield\b")


def refused(plugin: str, reason: str, fix: str = "") -> PluginError:
    """Make the error of an environment that cannot be had.

    Args:
        plugin: the distribution that is asked for.
        reason: as a clause without a full stop.
        fix: what to do, likewise.
    """
    plugin, reason = without_credentials(plugin), without_credentials(reason)
    fault = Fault("environment", plugin, plugin, reason, fix)
    return PluginError(plugin, "environment", reason, fix, (fault,))


def from_system(plugin: str, error: OSError, folder: object) -> PluginError:
    """Make the error of a cache that cannot be written or read.

    Args:
        plugin: the distribution that is asked for.
        error: what the system said.
        folder: the cache.
    """
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return _full(plugin, folder)
    what = f"the cache {folder} cannot be used: {error.strerror or error}"
    return refused(plugin, what, "make it this user's own and writable, or set XDG_CACHE_HOME to a folder that is")


def from_installer(
    plugin: str, said: str, *, asked: Sequence[str], folder: object, offline: bool, build: bool, runtime: str
) -> PluginError:
    """Make the error of a requirement that uv or pip could not resolve or install.

    Args:
        plugin: the distribution that is asked for.
        said: all that the installer said.
        asked: the requirements, in the order in which the installer got them.
        folder: the cache.
        offline: whether it was kept off the network.
        build: whether it may build source distributions.
        runtime: what a worker's own runtime needs, for people.
    """
    words = shorten(said, asked)
    if is_full(said):
        return _full(plugin, folder)
    if is_away(said) and not offline:
        fix = "try again when it answers; or put the wheels into a folder of find_links, with offline = true"
        told = shorten(next((line for line in said.splitlines() if is_away(line)), said))
        return refused(plugin, f"the package index cannot be reached: {told}", fix)
    if _HASH.search(said):
        fix = "the index or find_links has other files than when it was resolved: find out why, then build it anew"
        return refused(plugin, f"a file has another hash than the lock says: {words}", fix)
    if not build and _WHEELS.search(said):
        fix = "publish a wheel of it, or set build = true in [environments]"
        return refused(plugin, f"there is no wheel for this interpreter: {words}", fix)
    more = "put the wheels that it wants into find_links: nothing else is looked at offline"
    if _OURS.search(words):
        fix = f"loosen its pin: the worker runs this host's own jackfield, which needs {runtime}"
        fix += f"; or {more}" if offline else ""
        return refused(plugin, f"it cannot be resolved together with what a worker runs on: {words}", fix)
    fix = "check its name and version"
    if "(from versions: none)" in said and not build:  # all that pip says
        fix += "; if it is there, then without a wheel for this interpreter: set build = true in [environments]"
    return refused(plugin, f"it cannot be resolved: {words}", f"{fix}; or {more}" if offline else fix)


def without_credentials(text: str) -> str:
    """Take what stands before the `@` of a URL out of a text: requirements and settings of indexes may have secrets.

    Examples:
        >>> without_credentials("demo @ https://me:secret@index.example/demo.whl")
        'demo @ https://index.example/demo.whl'
    """
    return _CREDENTIALS.sub("", text)


def is_away(said: str) -> bool:
    """Tell whether an installer failed because it could not reach what it asked."""
    return bool(_AWAY.search(said))


def is_full(said: str) -> bool:
    """Tell whether an installer failed because the disk is full."""
    return bool(_FULL.search(said))


def shorten(said: str, asked: Sequence[str] = ()) -> str:
    r"""Reduce what an installer said to one line that has its reasons, without credentials and places of ours.

    Args:
        said: all of it.
        asked: the requirements by the number of their lines.

    Examples:
        >>> shorten("  \u00d7 No solution found when resolving dependencies:\n  \u2570─▶ Because a needs b, no.\n")
        'Because a needs b, no'
        >>> shorten("error: Failed to fetch: `https://me:secret@index.example/a/`")
        'Failed to fetch: `https://index.example/a/`'
        >>> shorten("ERROR: Cannot install -r /home/me/wanted.txt (line 1) and attrs 26.1.0", ["demo==1.0"])
        'Cannot install demo==1.0 and attrs 26.1.0'
    """
    lines: list[str] = []
    for line in said.splitlines():
        plain = _LABEL.sub("", _FRAME.sub("", line).strip())
        if plain and not _NOISE.fullmatch(plain) and plain not in lines:
            lines.append(plain)
    named = dict(enumerate(asked, 1))
    text = without_credentials(" ".join(lines))
    text = _LINE.sub(lambda found: named.get(int(found[1]), "what a worker runs on"), _PLACE.sub("", text))
    text = text.rstrip(".") or "it gave no reason"
    return text if len(text) <= _LONGEST else text[:_LONGEST].rpartition(" ")[0] + " …"


def _full(plugin: str, folder: object) -> PluginError:
    fix = "make room (`pluginctl env collect --size 0` empties the cache but for what is in use)"
    return refused(plugin, f"the disk that {folder} is on is full; nothing was left there", fix)
