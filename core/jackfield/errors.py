"""Every error that jackfield raises, and the closed set of outcomes that a call can have.

The tree::

    JackfieldError
    ├── FunctionNotFound      no such name, or no such version of it (close names are listed)
    ├── PayloadError          the payload does not fit the function's contract (path, expected, got)
    ├── DeadlineExceeded      the time was up, before or during the call
    ├── Cancelled             the call was cancelled from outside
    ├── Rejected              the function's own business refusal (code, details)
    ├── PermissionDenied      this caller may not do that
    ├── ResourceExhausted     a bound is reached (retry_after)
    ├── Unavailable           something that must be reached could not be: a stopped host, a worker, a store
    ├── FunctionCrashed       any other exception of a function, wherever it ran (error_type, cause)
    ├── StepFailed            a step of a flow has failed (flow, step, function); callers get it as a FunctionCrashed
    ├── AsyncCallRequired     `call` of an async function, or `stop`, inside a running event loop (instead)
    ├── ContractError         every fault of one function, found when it is loaded
    ├── InjectionError        every fault of the dependency graph
    │   ├── MissingDependency
    │   ├── DependencyCycle
    │   └── CaptiveDependency
    ├── DuplicateFunction     the name is taken (both sides)
    ├── PluginError           a plugin cannot be used (stage, reason, fix)
    ├── StoreConflict         a key has another revision than expected (key, expected, found)
    ├── StoreCompacted        the writes that a watch asks for are not kept any more (since, oldest, newest)
    ├── LeaseEnded            a lease was not renewed in time, or was released (lease, ttl)
    ├── StoreUnusable         the file of a store is damaged, newer, no store, or on a network (path, reason, fix)
    ├── SubmissionConflict    the key of a submitted call is that of another payload (function, key, id)
    └── ConfigError           a configuration file is wrong (file, line, key)

An error is its fields; the message is rendered from them when somebody reads it, with the texts of strangers each in
one printable line, whatever their fields hold. Fields may be given by position, so
that an error survives pickling on its way out of another process. Call errors carry `outcome`; load-time errors carry
`faults`.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, ClassVar

import attrs

from jackfield.text import one_line, printable


class Outcome(StrEnum):
    """How a call ended: one closed set, used by spans, metrics, logs and doors alike."""

    OK = "ok"
    REJECTED = "rejected"
    INVALID_PAYLOAD = "invalid_payload"
    NOT_FOUND = "not_found"
    PERMISSION_DENIED = "permission_denied"
    RESOURCE_EXHAUSTED = "resource_exhausted"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    CANCELLED = "cancelled"
    UNAVAILABLE = "unavailable"
    CRASHED = "crashed"


@attrs.frozen
class OutcomeRow:
    """What each door and observer makes of one outcome.

    Attributes:
        http: the HTTP status (RFC 9110; 499 is the customary "client closed request").
        grpc: the gRPC status code number.
        span_error: whether the span's status is ERROR (else UNSET).
        level: the level of the log record.
    """

    http: int
    grpc: int
    span_error: bool
    level: str


OUTCOMES: Mapping[Outcome, OutcomeRow] = {
    Outcome.OK: OutcomeRow(200, 0, False, "INFO"),
    Outcome.REJECTED: OutcomeRow(422, 9, False, "INFO"),
    Outcome.INVALID_PAYLOAD: OutcomeRow(400, 3, False, "WARNING"),
    Outcome.NOT_FOUND: OutcomeRow(404, 5, False, "WARNING"),
    Outcome.PERMISSION_DENIED: OutcomeRow(403, 7, False, "WARNING"),
    Outcome.RESOURCE_EXHAUSTED: OutcomeRow(429, 8, True, "ERROR"),
    Outcome.DEADLINE_EXCEEDED: OutcomeRow(504, 4, True, "ERROR"),
    Outcome.CANCELLED: OutcomeRow(499, 1, False, "INFO"),
    Outcome.UNAVAILABLE: OutcomeRow(503, 14, True, "ERROR"),
    Outcome.CRASHED: OutcomeRow(500, 13, True, "ERROR"),
}


@attrs.frozen(field_transformer=lambda _, fields: [field.evolve(converter=one_line) for field in fields])
class Fault:
    """One thing that is wrong with a plugin, an entry point, a function or the graph.

    Each text is one printable line: line breaks and control characters, which strangers put into names and messages,
    are escaped.

    Attributes:
        stage: where it was found: `scan`, `name`, `import`, `attribute`, `contract`, `duplicate`, `inject`, `hook`,
            `start`, `stop`, …
        plugin: the distribution or configured plugin, or "" when it cannot be told.
        entry: the function, provider or file that is left out.
        reason: what is wrong, as a clause without a full stop.
        fix: what to do about it, as a clause without a full stop; "" when only the author can tell.
        where: the line of the code that it is about, as `file:line`; "" when there is none, or the reason names it.
    """

    stage: str
    plugin: str
    entry: str
    reason: str
    fix: str = ""
    where: str = ""

    def __str__(self) -> str:
        """Render the fault as one line."""
        whose = (
            f"{self.entry} [{self.plugin}]" if self.plugin and self.entry != self.plugin else self.entry or self.plugin
        )
        where = f" ({self.where})" if self.where else ""
        fix = f" → {self.fix}" if self.fix else ""
        return f"{whose}: {self.stage}: {self.reason}{where}{fix}"


def _listed(faults: tuple[Fault, ...]) -> str:
    return "".join(f"\n  - {fault}" for fault in faults)


class JackfieldError(Exception):
    """The root of every error that jackfield raises by intent.

    Attributes:
        outcome: what a call that ends with this error is counted as.
        faults: what was found at load time; empty for call errors.
    """

    outcome: ClassVar[Outcome] = Outcome.CRASHED
    faults: tuple[Fault, ...] = ()


@attrs.define(slots=False, eq=False)
class FunctionNotFound(JackfieldError):
    """No function is registered under that name, or not in that version.

    Attributes:
        function: the name that was asked for.
        close: registered names that resemble it, best first.
        version: the version that was asked for, if any.
        versions: the versions that exist, when only the version is unknown.
        fault: why an advertised function of that name is left out, if it is.
    """

    function: str
    close: tuple[str, ...] = ()
    version: str | None = None
    versions: tuple[str, ...] = ()
    fault: Fault | None = None
    outcome: ClassVar[Outcome] = Outcome.NOT_FOUND

    def __str__(self) -> str:
        """Name the function, what is there instead, and why it is missing when that is known."""
        shown = self.function if len(self.function) <= 200 else self.function[:200] + "…"  # noqa: PLR2004
        if self.versions:
            return f"no version {(self.version or '')[:200]!r} of {shown!r}; there are: {', '.join(self.versions)}"
        if self.fault is not None:
            return f"{shown!r} is advertised but left out: {self.fault}"
        hint = (
            f"; did you mean {' or '.join(map(repr, self.close))}?"
            if self.close
            else "; `pluginctl list` shows what is there"
        )
        return f"no function {shown!r} is registered{hint}"


@attrs.define(slots=False, eq=False)
class PayloadError(JackfieldError):
    """The payload does not fit the function's contract.

    The value itself is never part of the message: it may be a secret.

    Attributes:
        function: the function that was called.
        path: where in the payload, as in `$.loan.amount`.
        expected: what the contract wants there.
        got: the type of what came, or what is wrong with it.
    """

    function: str
    path: str
    expected: str
    got: str
    outcome: ClassVar[Outcome] = Outcome.INVALID_PAYLOAD

    def __str__(self) -> str:
        """Name the function, the path, what was expected and what came."""
        return printable(f"{self.function}: payload at {self.path}: expected {self.expected}, got {self.got}")


@attrs.define(slots=False, eq=False)
class DeadlineExceeded(JackfieldError):
    """The time was up.

    Attributes:
        function: the function that was called, or "" outside any call.
        overdue: by how many seconds the deadline had passed when it was noticed.
        reason: what happened: not started, cancelled, came back late, still running in its thread.
    """

    function: str = ""
    overdue: float = 0.0
    reason: str = ""
    outcome: ClassVar[Outcome] = Outcome.DEADLINE_EXCEEDED

    def __str__(self) -> str:
        """Name the function and by how much it missed."""
        what = f"{self.function}: " if self.function else ""
        reason = f" ({self.reason})" if self.reason else ""
        return f"{what}deadline exceeded by {max(self.overdue, 0.0):.3f} s{reason}"


@attrs.define(slots=False, eq=False)
class Cancelled(JackfieldError):
    """The call was cancelled from outside: the host stops, or whoever ran it gave up.

    Attributes:
        function: the function that was called.
        reason: who cancelled, as far as it is known.
    """

    function: str = ""
    reason: str = ""
    outcome: ClassVar[Outcome] = Outcome.CANCELLED

    def __str__(self) -> str:
        """Name the function and who cancelled it."""
        return f"{self.function}: cancelled" + (f": {self.reason}" if self.reason else "")


@attrs.define(slots=False, eq=False)
class Rejected(JackfieldError):
    """A business refusal by the function itself: not a fault, no stack, no error status.

    Attributes:
        message: for people.
        code: for programs; stable.
        details: plain data that goes with it.

    Examples:
        >>> raise Rejected("amount must be positive", code="bad_amount")
        Traceback (most recent call last):
        ...
        jackfield.errors.Rejected: amount must be positive (bad_amount)
    """

    message: str
    code: str = "rejected"
    details: Mapping[str, Any] = attrs.field(factory=dict)
    outcome: ClassVar[Outcome] = Outcome.REJECTED

    def __str__(self) -> str:
        """Give the message and the code."""
        return printable(f"{self.message} ({self.code})")


@attrs.define(slots=False, eq=False)
class PermissionDenied(JackfieldError):
    """This caller may not do that.

    Attributes:
        function: the function that was called.
        reason: what is not allowed, and what would allow it.
    """

    function: str
    reason: str
    outcome: ClassVar[Outcome] = Outcome.PERMISSION_DENIED

    def __str__(self) -> str:
        """Name the function and what is not allowed."""
        return printable(f"{self.function}: permission denied: {self.reason}")


@attrs.define(slots=False, eq=False)
class ResourceExhausted(JackfieldError):
    """A bound is reached: too many threads, too many calls.

    Attributes:
        function: the function that was called.
        reason: which bound.
        retry_after: seconds after which it is worth trying again, or None when nobody can tell.
    """

    function: str
    reason: str
    retry_after: float | None = None
    outcome: ClassVar[Outcome] = Outcome.RESOURCE_EXHAUSTED

    def __str__(self) -> str:
        """Name the function, the bound and when to come back."""
        later = f"; try again in {self.retry_after:g} s" if self.retry_after is not None else ""
        return f"{self.function}: {self.reason}{later}"


@attrs.define(slots=False, eq=False)
class Unavailable(JackfieldError):
    """Something that must be reached could not be: a host that is not running, a worker, a node, a store.

    Attributes:
        what: what could not be reached.
        reason: why, and what to do.
        cause: what kind of reason: `crashed`, `out_of_memory`, `killed`, `protocol`, `start_failed`, `stopped`,
            `blocked`, `unreachable`, `store`, `host_stopped`; "" for any other.
        ran: whether the function may have run; None when nobody can tell.
    """

    what: str
    reason: str
    cause: str = ""
    ran: bool | None = None
    outcome: ClassVar[Outcome] = Outcome.UNAVAILABLE

    def __str__(self) -> str:
        """Name what could not be reached, and why."""
        return printable(f"{self.what}: {self.reason}")


@attrs.define(slots=False, eq=False)
class FunctionCrashed(JackfieldError):
    """A function raised something that is not a refusal. The original is `__cause__` when it happened in this process.

    Attributes:
        function: the function that was called.
        error_type: the qualified name of the exception's class.
        message: the exception's own text.
        version: the version that ran.
        plugin: whose function it is.
        remote_stack: the stack as text, when the function ran in another process.
    """

    function: str
    error_type: str
    message: str = ""
    version: str = ""
    plugin: str = ""
    remote_stack: str = ""
    outcome: ClassVar[Outcome] = Outcome.CRASHED

    def __str__(self) -> str:
        """Name the function, its plugin, and the exception."""
        whose = f" [{self.plugin}]" if self.plugin else ""
        text = f": {self.message}" if self.message else ""
        return printable(f"{self.function}@{self.version or '0'}{whose} crashed: {self.error_type}{text}")


@attrs.define(slots=False, eq=False)
class StepFailed(JackfieldError):
    """A step of a flow has failed. A flow is a function: who calls it gets this as the cause of a `FunctionCrashed`.

    Attributes:
        flow: the flow.
        step: the step; "" when it was none, but what the flow was called with, or its output.
        function: what the step calls.
        reason: what happened; the error itself is `__cause__`.
    """

    flow: str
    step: str
    function: str
    reason: str = ""
    outcome: ClassVar[Outcome] = Outcome.CRASHED

    def __str__(self) -> str:
        """Name the flow, the step and the function."""
        where = f"step {self.step!r} ({self.function}) of the flow {self.flow}" if self.step else f"flow {self.flow}"
        return printable(f"{where}: {self.reason}")


@attrs.define(slots=False, eq=False)
class AsyncCallRequired(JackfieldError):
    """`host.call` of an async function, or `host.stop`, inside a running event loop would block that loop.

    Attributes:
        function: the function that was called.
        instead: what to write instead; "" for `acall`, the twin of `call`.
    """

    function: str
    instead: str = ""
    outcome: ClassVar[Outcome] = Outcome.CRASHED

    def __str__(self) -> str:
        """Name the function and the call that works."""
        if self.instead:
            return f"{self.function} would block the event loop that is running here: use {self.instead}"
        return (
            f"{self.function} is async and an event loop is running here: use `await host.acall({self.function!r}, …)`"
        )


@attrs.define(slots=False, eq=False)
class ContractError(JackfieldError):
    """A callable cannot be used as a function; `faults` has every reason at once.

    Attributes:
        function: the name it was to be registered under.
        faults: everything that is wrong with it.
    """

    function: str
    faults: tuple[Fault, ...]

    def __str__(self) -> str:
        """List every fault."""
        shown = self.function if len(self.function) <= 200 else self.function[:200] + "…"  # noqa: PLR2004
        return f"{shown!r} is refused:{_listed(self.faults)}"


@attrs.define(slots=False, eq=False)
class InjectionError(JackfieldError):
    """The dependency graph has faults; all of them are in `faults`.

    The class is the most specific one that fits all faults; a mixture is a plain `InjectionError`.

    Attributes:
        faults: everything that is wrong with the graph.
        drawing: the cycle or the path as a drawing, "" when there is none.
    """

    faults: tuple[Fault, ...]
    drawing: str = ""

    def __str__(self) -> str:
        """List every fault, and draw the cycle if there is one."""
        drawing = f"\n{self.drawing}" if self.drawing else ""
        return f"dependencies cannot be injected:{_listed(self.faults)}{drawing}"


class MissingDependency(InjectionError):
    """A dependency has no provider."""


class DependencyCycle(InjectionError):
    """Providers depend on one another in a circle."""


class CaptiveDependency(InjectionError):
    """A singleton would hold a request-scoped object beyond its call."""


@attrs.define(slots=False, eq=False)
class DuplicateFunction(JackfieldError):
    """The name and version are taken.

    Attributes:
        function: the key, `name@version`.
        existing: who has it.
        refused: who wanted it.
    """

    function: str
    existing: str
    refused: str

    def __str__(self) -> str:
        """Name both sides and the ways out."""
        return (
            f"{self.function} is already registered by {self.existing}; refused for {self.refused}"
            " (give it another name or version=, or unregister the first)"
        )


@attrs.define(slots=False, eq=False)
class PluginError(JackfieldError):
    """A plugin, or one entry of it, cannot be used.

    Attributes:
        plugin: whose fault it is.
        stage: where it was found.
        reason: what is wrong.
        fix: what to do about it.
        faults: the same as frozen values, and any further ones.
    """

    plugin: str
    stage: str
    reason: str
    fix: str = ""
    faults: tuple[Fault, ...] = ()

    def __str__(self) -> str:
        """Name the plugin, the stage, the reason and the fix; list further faults."""
        fix = f" → {self.fix}" if self.fix else ""
        more = _listed(self.faults) if len(self.faults) > 1 else ""
        return printable(f"plugin {self.plugin}: {self.stage}: {self.reason}{fix}") + more


@attrs.define(slots=False, eq=False)
class ConfigError(JackfieldError):
    """A configuration, a manifest or an environment switch is wrong.

    Attributes:
        file: the file, or the name of the environment variable.
        line: the line, 1-based, or None when it cannot be located.
        key: the key, as in `plugin[2].timeout`.
        reason: what is wrong.
        faults: every fault of the file, when there are several.
    """

    file: str
    line: int | None
    key: str
    reason: str
    faults: tuple[Fault, ...] = ()

    def __str__(self) -> str:
        """Name the file, the line, the key and the reason; list further faults."""
        where = f"{self.file}:{self.line}" if self.line is not None else self.file
        more = _listed(self.faults) if len(self.faults) > 1 else ""
        return f"{where}: {self.key}: {self.reason}{more}"


@attrs.define(slots=False, eq=False)
class StoreConflict(JackfieldError):
    """A key of a store has another revision than its writer expected: somebody else was first. Nothing was written.

    Attributes:
        key: which.
        expected: the revision that the writer expected; 0 for none.
        found: the revision that is there; 0 for none.
    """

    key: str
    expected: int
    found: int

    def __str__(self) -> str:
        """Name the key, both revisions and the way on."""
        found = f"it has revision {self.found}" if self.found else "it is not there"
        expected = f"revision {self.expected}" if self.expected else "no such key"
        return f"{self.key}: {expected} was expected, {found}: read it again, then decide"


@attrs.define(slots=False, eq=False)
class StoreCompacted(JackfieldError):
    """The next writes that a watch asks for are not kept any more, or the store never had that revision.

    Attributes:
        since: the revision after which the watch was to go on.
        oldest: the earliest revision from which a watch can go on.
        newest: the store's revision.
    """

    since: int
    oldest: int
    newest: int

    def __str__(self) -> str:
        """Name what was asked for, what is kept, and the way on."""
        return (
            f"a watch cannot go on from revision {self.since}, only from {self.oldest} to {self.newest}:"
            " read range() again, and watch from its revision"
        )


@attrs.define(slots=False, eq=False)
class LeaseEnded(JackfieldError):
    """A lease is over: it was released, or not renewed for its time. What was put with it is gone.

    Attributes:
        lease: its id.
        ttl: seconds that it lives without being renewed.
    """

    lease: str
    ttl: float

    def __str__(self) -> str:
        """Name the lease and the way on."""
        return f"lease {self.lease} was released, or not renewed for {self.ttl:g} s: begin another, and claim anew"


@attrs.define(slots=False, eq=False)
class StoreUnusable(JackfieldError):
    """The file of a store cannot be used: it is damaged, of a newer version, no store, or where it would not be safe.

    Attributes:
        path: of the file.
        reason: why.
        fix: what to do.
    """

    path: str
    reason: str
    fix: str

    def __str__(self) -> str:
        """Name the file, what is wrong with it, and the way on."""
        return printable(f"{self.path}: {self.reason}: {self.fix}")


@attrs.define(slots=False, eq=False)
class SubmissionConflict(JackfieldError):
    """A call was submitted under this key before, with another payload. Nothing was accepted.

    Attributes:
        function: which.
        key: that of both.
        id: of the call that is there.
    """

    function: str
    key: str
    id: str
    outcome: ClassVar[Outcome] = Outcome.INVALID_PAYLOAD

    def __str__(self) -> str:
        """Name the function, the key, the call that has it, and the way on."""
        return printable(
            f"{self.function}: key {self.key[:80]!r} is that of call {self.id}, whose payload is another one:"
            " a key stands for one call and its payload"
        )
