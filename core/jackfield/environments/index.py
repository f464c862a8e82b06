"""What indexes have, by the simple repository API: the files of a project, with their hashes.

uv and pip say nothing of source distributions that they may not build, so these are looked up here, at the indexes that
both are configured for. https://packaging.python.org/en/latest/specifications/simple-repository-api/
"""

import json
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Final
from urllib.error import HTTPError
from urllib.parse import quote, unquote, urldefrag, urljoin, urlsplit, urlunsplit
from urllib.request import Request, url2pathname, urlopen

import attrs

from jackfield.environments.faults import without_credentials
from jackfield.environments.installers import Failed

_DEFAULT: Final = "https://pypi.org/simple/"
_JSON: Final = "application/vnd.pypi.simple.v1+json"
_ACCEPT: Final = f"{_JSON}, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
_MOST: Final = 1 << 29  # bytes of one file
_TIMEOUT: Final = 60.0
_GONE: Final = 404


@attrs.frozen
class Listed:
    """One file that is there.

    Attributes:
        file: its name.
        place: its path, or URL.
        sha256: as the index says; "" when it does not.
        python: the versions of Python that it is for, as a specifier; "" for any.
    """

    file: str
    place: str
    sha256: str = ""
    python: str = ""


def project(name: str) -> tuple[Listed, ...]:
    """Give the files of a project, of the first index that knows it.

    Args:
        name: normalised.

    Raises:
        Failed: when an index cannot be read.
    """
    for index in indexes(os.environ):
        found = page(f"{index.rstrip('/')}/{quote(name)}/")
        if found is not None:
            return found
    return ()


def page(url: str) -> tuple[Listed, ...] | None:
    """Read a page of files; None when there is none.

    Raises:
        Failed: when it cannot be read.
    """
    path = Path(url2pathname(urlsplit(url).path))
    if urlsplit(url).scheme == "file":
        if path.is_dir():
            path = path / "index.html"
        if not path.is_file():
            return None
        return tuple(_links(path.read_text("utf-8", "replace"), path.as_uri()))
    try:
        kind, content = _get(url)
    except HTTPError as error:
        if error.code == _GONE:
            return None
        raise _away(url, error) from error
    except (OSError, ValueError) as error:
        raise _away(url, error) from error
    try:
        found = _listed(json.loads(content), url) if kind == _JSON else _links(content.decode("utf-8", "replace"), url)
    except ValueError as error:
        raise _away(url, error) from error
    # What is read from the network leads to no file of this machine.
    return tuple(one for one in found if urlsplit(one.place).scheme in ("http", "https"))


def read(place: str) -> bytes:
    """Read a file, be it by its path or its URL.

    Raises:
        Failed: when it cannot be read.
    """
    scheme = urlsplit(place).scheme
    try:
        if scheme in ("http", "https"):
            return _get(place)[1]
        return Path(url2pathname(urlsplit(place).path) if scheme == "file" else place).read_bytes()
    except (OSError, ValueError) as error:
        raise _away(place, error) from error


def indexes(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Give the indexes that uv and pip are configured for: the further ones, then the one that stands for PyPI.

    Args:
        environ: the variables of the host.

    Examples:
        >>> indexes({"UV_DEFAULT_INDEX": "https://index.example/simple", "XDG_CONFIG_HOME": "/nowhere"})[-1]
        'https://index.example/simple'
    """
    further: list[str] = []
    default = ""
    for name in ("UV_INDEX", "UV_EXTRA_INDEX_URL", "PIP_EXTRA_INDEX_URL"):
        further += [part.partition("=")[2] or part for part in environ.get(name, "").split()]
    for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL"):
        default = default or environ.get(name, "")
    for more, other in (_of_uv(environ), _of_pip(environ)):
        further += more
        default = default or other
    return tuple(dict.fromkeys([*further, default or _DEFAULT]))


def _of_uv(environ: Mapping[str, str]) -> tuple[list[str], str]:
    further, default = [], ""
    home = Path(environ.get("XDG_CONFIG_HOME") or Path(environ.get("HOME", "/"), ".config"))
    files: list[str | Path] = (
        [environ["UV_CONFIG_FILE"]] if "UV_CONFIG_FILE" in environ else [home / "uv" / "uv.toml", "/etc/uv/uv.toml"]
    )
    for file in files:
        with suppress(OSError, tomllib.TOMLDecodeError):
            told = tomllib.loads(Path(file).read_text("utf-8"))
            for each in told.get("index", ()):
                if each.get("default"):
                    default = default or each.get("url", "")
                elif not each.get("explicit"):
                    further.append(each.get("url", ""))
            pip = told.get("pip", {})
            further += [*told.get("extra-index-url", ()), *pip.get("extra-index-url", ())]
            default = default or told.get("index-url", "") or pip.get("index-url", "")
    return list(filter(None, further)), default


def _of_pip(environ: Mapping[str, str]) -> tuple[list[str], str]:
    import configparser  # noqa: PLC0415  # rarely needed

    home = Path(environ.get("HOME", "/"))
    config = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    files: list[str | Path] = [
        "/etc/pip.conf",
        home / ".pip" / "pip.conf",
        config / "pip" / "pip.conf",
        environ.get("PIP_CONFIG_FILE", ""),
    ]
    told = configparser.RawConfigParser()
    with suppress(OSError, configparser.Error, UnicodeError):
        told.read(filter(None, files), "utf-8")
    values = {
        key: told.get(section, key, fallback="")
        for key in ("extra-index-url", "index-url")
        for section in ("global", "install")
        if told.get(section, key, fallback="")
    }
    return values.get("extra-index-url", "").split(), values.get("index-url", "").strip()


def _get(url: str) -> tuple[str, bytes]:
    """Read a URL of http or https; who asks is in it, or in `.netrc`."""
    import base64  # noqa: PLC0415  # as above
    import netrc  # noqa: PLC0415  # as above

    parts = urlsplit(urldefrag(url)[0])
    if parts.scheme not in ("http", "https"):
        raise ValueError(f"{parts.scheme} is not read")
    user, secret = unquote(parts.username or ""), unquote(parts.password or "")
    if not user:
        with suppress(OSError, netrc.NetrcParseError, TypeError):
            user, _, secret = netrc.netrc(os.environ.get("NETRC")).authenticators(parts.hostname or "")  # type: ignore[misc]  # a TypeError says that there is none
    request = Request(urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])), headers={"Accept": _ACCEPT})  # noqa: S310  # of these two schemes
    if user:
        request.add_unredirected_header(
            "Authorization", f"Basic {base64.b64encode(f'{user}:{secret}'.encode()).decode('ascii')}"
        )
    with urlopen(request, timeout=_TIMEOUT) as answer:  # noqa: S310  # as above
        content = answer.read(_MOST + 1)
        if len(content) > _MOST:
            raise ValueError(f"it has more than {_MOST >> 20} MiB")
        return answer.headers.get_content_type(), content


def _away(url: str, error: Exception) -> Failed:
    reason = getattr(error, "reason", None) or error
    return Failed(f"failed to fetch: connection error: {without_credentials(urldefrag(url)[0])}: {reason}")


def _listed(told: Any, base: str) -> Iterator[Listed]:
    with suppress(KeyError, TypeError, AttributeError):  # no index of that kind
        for each in told["files"]:
            if not each.get("yanked"):
                sha256 = each.get("hashes", {}).get("sha256", "")
                yield Listed(each["filename"], urljoin(base, each["url"]), sha256, each.get("requires-python") or "")


def _links(text: str, base: str) -> Iterator[Listed]:
    parser = _Anchors()
    parser.feed(text)
    for found in parser.found:
        if "data-yanked" in found or not found.get("href"):
            continue
        url, fragment = urldefrag(urljoin(base, found["href"]))
        sha256 = re.search(r"sha256=([0-9a-f]{64})", fragment)
        file = unquote(urlsplit(url).path).rpartition("/")[2]
        yield Listed(file, url, sha256[1] if sha256 else "", found.get("data-requires-python") or "")


class _Anchors(HTMLParser):
    """Collects the attributes of all links."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[dict[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take note of one."""
        if tag == "a":
            self.found.append({name: value or "" for name, value in attrs})
