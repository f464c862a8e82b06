"""What an environment and a request are called: digests of all that they depend on."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit
from urllib.request import url2pathname

from jackfield.environments.faults import refused
from jackfield.environments.host import machine, runtime
from jackfield.environments.values import Request

_ENDINGS: Final = (".whl", ".html", ".tar.gz", ".zip")


def request_key(request: Request, find_links: Iterable[str], *, build: bool) -> str:
    """Give what a request is remembered by: all that may lead it elsewhere and can be told without an index.

    Args:
        request: what is wanted.
        find_links: where wheels are beside the index.
        build: whether source distributions count.

    Raises:
        PluginError: when a place that is named is not there.
    """
    places = [*((link, "of find_links") for link in find_links), *((url, "asked for") for url in request.urls)]
    found = [_contents(place, whence, request.name) for place, whence in places]
    return _digest([request.requirement, request.further, found, build, *_here()])


def address_of(lock: str) -> str:
    """Give the address of what is installed by a lock, here.

    Args:
        lock: as a requirements file has it.
    """
    return _digest([lock, *_here()])


def is_url(place: str) -> bool:
    """Tell a page from a folder.

    Examples:
        >>> is_url("https://wheels.example/"), is_url("./wheels")
        (True, False)
    """
    return urlsplit(place).scheme in {"http", "https", "file"}


def _here() -> tuple[str, ...]:
    """Give what fits only this interpreter, this platform and this host."""
    return (*machine(), runtime().version, runtime().digest)


def _contents(link: str, whence: str, plugin: str) -> Any:
    """Give what is in a folder of wheels, as far as its listing tells; of a page in the network, its address."""
    if is_url(link) and urlsplit(link).scheme != "file":
        return link
    path = Path(url2pathname(urlsplit(link).path) if is_url(link) else link)
    try:
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        status = [(file.name, file.stat()) for file in files if file.name.endswith(_ENDINGS) or file == path]
    except FileNotFoundError as error:
        raise refused(plugin, f"{error.filename}, {whence}, is not there", "make it, or leave it out") from error
    except OSError as error:
        reason = f"{path}, {whence}, cannot be read: {error.strerror}"
        raise refused(plugin, reason, "make it readable, or leave it out") from error
    return [link, [(name, found.st_size, found.st_mtime_ns) for name, found in status]]


def _digest(what: Any) -> str:
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()[:32]
