"""The hooks, and where their records go."""

import logging
import os
from datetime import UTC, datetime
from fnmatch import fnmatchcase

import msgspec

from jackfield import PermissionDenied, hookimpl
from jackfield.model.spec import FunctionSpec

_log = logging.getLogger("jackfield.audit")


class AuditTrail:
    """Write down each change to what can be called, and refuse what may not be.

    Two environment variables are read when the host makes it:

    - `JACKFIELD_AUDIT_FILE`: the file that gets one JSON object a line. When unset, the lines go to the standard logger
      `jackfield.audit` at level INFO: nothing is written to a place that nobody chose.
    - `JACKFIELD_AUDIT_DENY`: patterns of names that may not be registered, separated by commas, as in `shell.*,*.eval`.

    Raises:
        OSError: if the file cannot be opened; the host then reports the fault, and a strict one does not start.
    """

    def __init__(self) -> None:
        self._file = os.environ.get("JACKFIELD_AUDIT_FILE")
        if self._file:
            _append(self._file, b"")  # fail now rather than at the first record
        denied = os.environ.get("JACKFIELD_AUDIT_DENY", "")
        self._denied = tuple(pattern for part in denied.split(",") if (pattern := part.strip()))

    @hookimpl
    def jackfield_register(self, function: FunctionSpec) -> None:
        """Refuse a function whose name is denied, before anybody can call it.

        Raises:
            PermissionDenied: naming the pattern.
        """
        for pattern in self._denied:
            if fnmatchcase(function.name, pattern):
                self._note("function_refused", **_identity(function), pattern=pattern)
                raise PermissionDenied(function.name, f"JACKFIELD_AUDIT_DENY has {pattern!r}")

    @hookimpl
    def jackfield_registered(self, function: FunctionSpec) -> None:
        """Note a function that can be called from now on."""
        self._note("function_registered", **_identity(function))

    @hookimpl
    def jackfield_unregistered(self, function: FunctionSpec) -> None:
        """Note a function that can no longer be called."""
        self._note("function_unregistered", **_identity(function))

    @hookimpl
    def jackfield_plugin_started(self, plugin: str) -> None:
        """Note a plugin that runs."""
        self._note("plugin_started", plugin=plugin)

    @hookimpl
    def jackfield_plugin_stopped(self, plugin: str) -> None:
        """Note a plugin that has stopped."""
        self._note("plugin_stopped", plugin=plugin)

    def _note(self, event: str, **fields: str) -> None:
        record = {"time": datetime.now(UTC), "pid": os.getpid(), "event": event, **fields}
        line = msgspec.json.encode(record)
        if self._file:
            _append(self._file, line + b"\n")
        else:
            _log.info(line.decode())


def _identity(function: FunctionSpec) -> dict[str, str]:
    return {
        "function": function.name,
        "version": function.version,
        "plugin": function.plugin,
        "distribution": function.distribution,
    }


def _append(file: str, line: bytes) -> None:
    # Opened for each record: hosts in several processes may share the file, since one write in append mode is not torn
    # apart, and a file that was rotated away is noticed. Only the owner may read it.
    with open(file, "ab", buffering=0, opener=_private) as opened:  # Path.open takes no opener
        opened.write(line)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, mode=0o600)
