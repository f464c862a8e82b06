"""The verbs for flows."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from jackfield.flow.shown import plain
from jackfield.host import Host


def flows(host: Host) -> list[dict[str, Any]]:
    """Give the flows that can be called, sorted."""
    return [plain(flow) for flow in sorted(host.flows, key=lambda flow: flow.key)]


VERBS: Final[Mapping[str, Callable[..., Any]]] = {"flows": flows}
