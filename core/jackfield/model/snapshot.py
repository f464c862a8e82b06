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
        functions: name → route, read-only.
    """

    revision: int = 0
    functions: Mapping[str, Route] = MappingProxyType({})
