"""The immutable state that a whole call sees."""

from collections.abc import Mapping
from types import MappingProxyType

import attrs

from jackfield.model.route import Route


@attrs.frozen(eq=False)
class Snapshot:
    """All routes at one revision.

    Attributes:
        revision: grows by one with every swap.
        routes: name → route; the plain dict for the call path, which nobody may change.
        functions: the same, read-only.
    """

    revision: int = 0
    routes: dict[str, Route] = attrs.field(factory=dict)
    functions: Mapping[str, Route] = attrs.field(
        init=False, default=attrs.Factory(lambda self: MappingProxyType(self.routes), takes_self=True)
    )
