"""The verb for whole calls that are kept."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final

import msgspec

from jackfield.errors import Rejected
from jackfield.host import Host

_MOST: Final = 1_000
_Text = Annotated[str, msgspec.Meta(max_length=255)]


def trace(
    host: Host,
    plugin: _Text | None = None,
    tenant: _Text | None = None,
    identifier: _Text | None = None,
    errors: bool = False,
    slow: bool = False,
    limit: Annotated[int, msgspec.Meta(ge=1, le=_MOST)] = 20,
) -> list[dict[str, Any]]:
    """Give whole calls that went wrong or were slow; all as for `Traces.find`."""
    if host.traces is None:
        raise Rejected("this host observes no calls, so it keeps none: it has no observers", code="not_observed")
    return host.traces.find(plugin=plugin, tenant=tenant, identifier=identifier, errors=errors, slow=slow, limit=limit)


VERBS: Final[Mapping[str, Callable[..., Any]]] = {"trace": trace}
