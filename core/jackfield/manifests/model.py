"""What a manifest says: the value that is used, and the document as it is written, which is the list of its keys."""

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Final, Literal

import attrs
from msgspec import Meta

from jackfield.config.apart import Capability
from jackfield.config.leaves import Cpu, Pattern, Positive, RestartPolicy, Size, Text
from jackfield.errors import Fault
from jackfield.model.grants import Grants, Resources

_PROBE: Final = re.compile(r"/?([A-Za-z_][\w-]*(?:\.[\w-]+)*)(?:\?timeout=(\d{1,6}(?:\.\d{1,6})?)(ms|s|m)?)?", re.ASCII)
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0}
PROBE_TIMEOUT: Final = 5.0

ProbeText = Annotated[
    str,
    Meta(
        min_length=1,
        description="a function or method of the plugin, as in '/health?timeout=3s'",
        extra_json_schema={"pattern": f"^{_PROBE.pattern}$".replace("(?:", "(")},
    ),
]


@attrs.frozen
class Probe:
    """A function or method of the plugin that is called at a moment of its life.

    Attributes:
        name: of a function that it advertises, or of a method of the plugin object.
        timeout: seconds that it may take.
    """

    name: str
    timeout: float = PROBE_TIMEOUT

    @classmethod
    def parse(cls, text: str) -> "Probe | None":
        """Read one; None for anything else.

        Args:
            text: as in `/health?timeout=3s`; the time in `s`, `ms` or `m`.

        Examples:
            >>> Probe.parse("/health?timeout=3s")
            Probe(name='health', timeout=3.0)
            >>> Probe.parse("shutdown?timeout=1500ms"), Probe.parse("/a/b")
            (Probe(name='shutdown', timeout=1.5), None)
        """
        match = _PROBE.fullmatch(text)
        if match is None:
            return None
        timeout = float(match[2]) * _SECONDS[match[3] or ""] if match[2] else PROBE_TIMEOUT
        return cls(match[1], timeout) if timeout > 0 else None

    def __str__(self) -> str:
        """Render as it is written."""
        return f"/{self.name}?timeout={self.timeout:g}s"


@attrs.frozen
class Manifest:
    """What a plugin says of itself, and asks for.

    Attributes:
        name: of its distribution; None when it does not say.
        version: of its distribution; None when it does not say.
        functions: names of the functions that it serves; None when it does not say.
        resources: what it needs of the machine.
        asks: the capabilities that it asks for; only a request.
        healthcheck: what tells how it is.
        graceful_shutdown: what is called before its workers end.
        idempotent: patterns of its functions that may be tried again.
        restart: when it is started again, where the configuration does not say.
        file: where it was read.
    """

    name: str | None = None
    version: str | None = None
    functions: tuple[str, ...] | None = None
    resources: Resources = attrs.field(factory=Resources)
    asks: Grants = attrs.field(factory=Grants)
    healthcheck: Probe | None = None
    graceful_shutdown: Probe | None = None
    idempotent: tuple[str, ...] = ()
    restart: RestartPolicy | None = None
    file: Path | None = attrs.field(default=None, eq=False)

    def is_idempotent(self, function: str) -> bool:
        """Tell whether a function may be tried again.

        Args:
            function: its name.
        """
        return any(fnmatchcase(function, pattern) for pattern in self.idempotent)

    def disagreements(self, name: str, version: str, functions: Sequence[str]) -> tuple[Fault, ...]:
        """Compare it with the metadata of the distribution that ships it.

        Args:
            name: of the distribution, normalised as PEP 503 does.
            version: of the distribution.
            functions: that its entry points advertise.

        Returns:
            A fault for each thing that the two say differently.
        """
        entry = str(self.file or "plugin-manifest.yaml")
        faults = []
        if self.name is not None and re.sub(r"[-_.]+", "-", self.name).lower() != name:
            reason, fix = f"it says name: {self.name}, and the distribution is {name}", f"write name: {name}"
            faults.append(Fault("manifest", name, entry, reason, fix))
        if self.version is not None and not _same_version(self.version, version):
            reason = f"it says version: {self.version}, and the distribution is {version}"
            fix = "say the same in both, or leave version out of the manifest"
            faults.append(Fault("manifest", name, entry, reason, fix))
        for function in self.functions or ():
            if function not in functions:
                reason = f"it names the function {function}, which no entry point advertises"
                fix = "add its entry point and install again, or take it out of functions"
                faults.append(Fault("manifest", name, entry, reason, fix))
        if self.functions is not None:
            for function in functions:
                if function not in self.functions:
                    reason = f"an entry point advertises {function}, which is not among its functions"
                    faults.append(Fault("manifest", name, entry, reason, f"add {function} to functions"))
        return tuple(faults)


def _same_version(one: str, other: str) -> bool:
    if one == other:
        return True
    from packaging.version import InvalidVersion, Version  # noqa: PLC0415  # 12 ms, and they are the same as a rule

    try:
        return Version(one) == Version(other)
    except InvalidVersion:
        return False


@attrs.frozen
class ResourcesTable:
    """What the plugin needs of the machine; a configuration may give less, and never more.

    Attributes:
        cpu: cores.
        memory: bytes.
        pids: processes and threads.
        open_files: files that it has open at once.
        capabilities: the same as `capabilities` beside this table.
    """

    cpu: Cpu | None = None
    memory: Size | None = None
    pids: Positive | None = None
    open_files: Positive | None = None
    capabilities: tuple[Capability, ...] = ()


@attrs.frozen
class LifecycleTable:
    """Functions or methods of the plugin that are called at moments of its life.

    Attributes:
        healthcheck: what tells how it is.
        graceful_shutdown: what is called before its workers end.
    """

    healthcheck: ProbeText | None = None
    graceful_shutdown: ProbeText | None = attrs.field(default=None, metadata={"key": "graceful-shutdown"})


@attrs.frozen
class Document:
    """The manifest of a jackfield plugin.

    Attributes:
        name: of the distribution.
        version: of the distribution; where it is left out, there are no two places to change.
        functions: names of the functions that the plugin serves.
        resources: what it needs of the machine.
        capabilities: what it must be able to do; only a request, which an operator allows.
        lifecycle: functions or methods of the plugin that are called at moments of its life.
        idempotent: the functions that may be tried again; `true` for all.
        restart: when it is started again, where the configuration does not say.
        imports: `eager` when it imports nothing after its start, and is to be held to that.
    """

    name: Text | None = None
    version: Text | None = None
    functions: tuple[Text, ...] | None = None
    resources: ResourcesTable = attrs.field(factory=ResourcesTable)
    capabilities: tuple[Capability, ...] = ()
    lifecycle: LifecycleTable = attrs.field(factory=LifecycleTable)
    idempotent: tuple[Pattern, ...] = ()
    restart: RestartPolicy | None = None
    imports: Literal["lazy", "eager"] = "lazy"
