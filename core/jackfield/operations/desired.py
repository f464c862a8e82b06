"""The verbs for desired state: apply a file, or tell what differs from it."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from jackfield.config import Configuration
from jackfield.errors import Rejected
from jackfield.host import Host


def apply(
    host: Host, path: str, dry_run: bool = False, force: bool = False, digest: str | None = None
) -> dict[str, Any]:
    """Bring the host to what a file says; it is read by the host's own process, with its rights.

    Args:
        host: the host.
        path: the file, absolute: who asks is elsewhere.
        dry_run: do nothing.
        force: let the file have what somebody changed as well.
        digest: sha256 of what whoever asks has seen there; another content is refused.
    """
    configuration = _read(host, path)
    if digest is not None and digest != configuration.digest:
        reason = (
            f"the host reads another content at {path} (sha256 {configuration.digest[:12]}) than you ({digest[:12]})"
        )
        raise Rejected(f"{reason}: it changes, or the host has another file system", code="another_file")
    return host.apply(configuration, dry_run=dry_run, force=force).plain()


def diff(host: Host, path: str | None = None, digest: str | None = None) -> dict[str, Any]:
    """Tell what differs between the host and a file, by default the one that was applied last."""
    if path is None:
        if host.configuration is None:
            raise Rejected("this host was made without a file: name one", code="no_file")
        path = str(host.configuration.file)
    return apply(host, path, dry_run=True, digest=digest)


def history(host: Host) -> list[dict[str, Any]]:
    """List the changes of what is desired that are kept, the oldest first."""
    return [attrs.asdict(each) for each in host.history]


def undo(host: Host, revision: int) -> dict[str, Any]:
    """Bring back what was desired at an earlier revision."""
    try:
        return host.undo(revision).plain()
    except LookupError as error:
        raise Rejected(str(error), code="not_kept") from None


def _read(host: Host, path: str) -> Configuration:
    if not Path(path).is_absolute():
        raise Rejected(
            f"{path!r} is relative, and the host's folder is another one: give it whole", code="relative_path"
        )
    return host.read_configuration(path)


VERBS: Final[Mapping[str, Callable[..., Any]]] = {"apply": apply, "diff": diff, "history": history, "undo": undo}
