"""What an apply would do, or has done: frozen values that render as text and as plain data."""

import time
from collections.abc import Iterator
from typing import Any, Literal

import attrs

from jackfield.errors import Fault

Kind = Literal[
    "abort",
    "tenants",
    "route",
    "remove",
    "add",
    "change",
    "reload",
    "upgrade",
    "start",
    "stop",
    "flows",
    "schedules",
    "webhooks",
    "deliveries",
]
Status = Literal["planned", "done", "failed"]

_SIGNS = {"add": "+", "start": "+", "remove": "-", "stop": "-", "abort": "-"}


@attrs.frozen
class FieldChange:
    """One field that differs.

    Attributes:
        field: its key, as in the file: `timeout`, `options.url`.
        before: what it was, as text; `(set)` for an option, whose value may be a secret; "" where there was none.
        after: what it is to be.
    """

    field: str
    before: str
    after: str

    def __str__(self) -> str:
        """Render as `timeout: 1.0 → 2.0`."""
        return f"{self.field}: {self.before or '(none)'} → {self.after or '(none)'}"


@attrs.frozen
class Change:
    """One step of a plan.

    Attributes:
        kind: `abort` (a canary, because its plugin or route changes), `tenants`, `route`, and of plugins `remove`,
            `add`, `change` (unloaded, and loaded as it is configured now), `reload` (its file or folder changed;
            swapped without losing a call), `upgrade` (another version comes beside the running one, and is tried first
            by whom its `upgrade` says), `start`, `stop`; `flows`, `schedules`,
            `webhooks` and `deliveries`.
        name: the plugin, the function, or the canary; "" for tenants and what stands after `stop`, which change
            together.
        why: as a clause.
        fields: what differs.
        also: the plugins that depend on it, and stop and start with it.
        status: whether it is only planned, done, or has failed.
        faults: what went wrong, each naming its plugin; a change that is done may have left entries out.
    """

    kind: Kind
    name: str
    why: str
    fields: tuple[FieldChange, ...] = ()
    also: tuple[str, ...] = ()
    status: Status = "planned"
    faults: tuple[Fault, ...] = ()

    def lines(self) -> Iterator[str]:
        """Render as one line, then one for each field and fault."""
        said = {"planned": "", "done": " (done)", "failed": " (failed)"}[self.status]
        also = f"; with it stop and start: {', '.join(self.also)}" if self.also else ""
        name = f" {self.name}" if self.name else ""
        yield f"{_SIGNS.get(self.kind, '~')} {self.kind}{name}: {self.why}{also}{said}"
        yield from (f"    {field}" for field in self.fields)
        yield from (f"    ! {fault}" for fault in self.faults)


@attrs.frozen
class Conflict:
    """A field that both the file and somebody else changed since the last apply.

    Attributes:
        field: as in `plugin.billing.auto_start`.
        file: what the file says now, as text; "" when it says nothing any more.
        here: what somebody made it.
        by: who: `operator`, `canary`.
        verb: how: `stop`, `canary`, `reroute`.
        at: when, in seconds since the epoch; 0 for a canary that is under way.
    """

    field: str
    file: str
    here: str
    by: str
    verb: str
    at: float

    def __str__(self) -> str:
        """Name both sides."""
        return f"{self.field}: the file says {self.file or '(nothing)'}, {_who(self)} made it {self.here}"


@attrs.frozen
class Drift:
    """A field that is not what the file says, and stays so: somebody changed it, or a version is on trial.

    Attributes:
        field: as in `plugin.billing.running`.
        file: what the file says, as text; "" when it says nothing.
        here: what it is.
        by: who made it so.
        verb: how.
        at: when, in seconds since the epoch; 0 for a canary that is under way.
    """

    field: str
    file: str
    here: str
    by: str
    verb: str
    at: float

    def __str__(self) -> str:
        """Name both sides."""
        return f"{self.field}: {self.here} ({_who(self)}), in the file {self.file or '(nothing)'}"


def _who(one: Conflict | Drift) -> str:
    when = f" at {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(one.at))}" if one.at else ""
    return f"{one.verb} by {one.by}{when}"


@attrs.frozen
class Plan:
    """The way from what runs to what a file says.

    Attributes:
        file: the configuration file.
        digest: sha256 of its content, in hexadecimal; "" for a `Configuration` that was made otherwise.
        changes: the steps, in order; empty: there is nothing to do.
        conflicts: why nothing was done, unless it is forced.
        drift: what was changed by hand and stays, and what is on trial.
        restart: what only a restart of the host brings.
        applied: whether it was carried out, as far as its changes say.
    """

    file: str = ""
    digest: str = ""
    changes: tuple[Change, ...] = ()
    conflicts: tuple[Conflict, ...] = ()
    drift: tuple[Drift, ...] = ()
    restart: tuple[FieldChange, ...] = ()
    applied: bool = False

    @property
    def failed(self) -> tuple[Change, ...]:
        """The steps that failed; the next apply tries them again."""
        return tuple(change for change in self.changes if change.status == "failed")

    @property
    def ok(self) -> bool:
        """Whether nothing stood, and nothing went, in the way."""
        return not self.failed and not self.conflicts

    @property
    def differs(self) -> bool:
        """Whether the host is in any way not what the file says, be it by hand or until a restart."""
        return bool(self.changes or self.conflicts or self.drift or self.restart)

    def plain(self) -> dict[str, Any]:
        """Give it as plain data, for JSON."""
        return {**attrs.asdict(self), "ok": self.ok}

    def __str__(self) -> str:
        """Render it for people."""
        lines = [f"{self.file or 'a configuration'}{f' (sha256 {self.digest[:12]})' if self.digest else ''}:"]
        lines += [line for change in self.changes for line in change.lines()]
        if not self.changes:
            lines.append("nothing to do")
        for title, rows in (
            ("in conflict, so that nothing is done (force takes the file):", self.conflicts),
            ("not as the file says, and left so:", self.drift),
            ("needs a restart of the host:", self.restart),
        ):
            if rows:
                lines += [title, *(f"    {row}" for row in rows)]
        return "\n".join(lines)


def plan_of(plain: dict[str, Any]) -> Plan:
    """Make a plan again of what `Plan.plain` gave.

    Args:
        plain: as it came over a socket.
    """
    changes = tuple(
        Change(
            **{
                **row,
                "fields": tuple(FieldChange(**field) for field in row["fields"]),
                "also": tuple(row["also"]),
                "faults": tuple(Fault(**fault) for fault in row["faults"]),
            }
        )
        for row in plain["changes"]
    )
    return Plan(
        plain["file"],
        plain["digest"],
        changes,
        tuple(Conflict(**row) for row in plain["conflicts"]),
        tuple(Drift(**row) for row in plain["drift"]),
        tuple(FieldChange(**row) for row in plain["restart"]),
        plain["applied"],
    )
