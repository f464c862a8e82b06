"""The verbs for schedules."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import attrs

from jackfield.host import Host


def listed(host: Host) -> list[dict[str, Any]]:
    """List the schedules that a host follows, their times as RFC 3339 in UTC."""
    return [
        {**attrs.asdict(record), "next": _utc(record.next), "last": _utc(record.last)}
        for record in host.schedules.values()
    ]


def _utc(moment: float | None) -> str | None:
    return None if moment is None else datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


VERBS: Final[Mapping[str, Callable[..., Any]]] = {"schedules": listed}
