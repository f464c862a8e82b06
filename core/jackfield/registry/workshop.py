"""Compiling for a change that may have to be worked out several times."""

from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Self

from jackfield.model.route import Endpoint
from jackfield.model.spec import FunctionSpec
from jackfield.registry.registry import Wiring


class Workshop:
    """The endpoints that were compiled for one change; those that it does not use in the end are closed.

    Args:
        wire: compiles one.
    """

    def __init__(self, wire: Callable[[FunctionSpec, Wiring], Endpoint]) -> None:
        self._wire = wire
        self._wiring: Wiring | None = None
        self._made: dict[FunctionSpec, Endpoint] = {}
        self._used: Mapping[FunctionSpec, Endpoint] = {}
        self._spare: list[Endpoint] = []

    def is_new(self, wiring: Wiring) -> bool:
        """Tell whether nothing has been compiled against a wiring yet."""
        return wiring is not self._wiring

    def endpoints(self, specs: Iterable[FunctionSpec], wiring: Wiring) -> Mapping[FunctionSpec, Endpoint]:
        """Give an endpoint of each spec, compiled against a wiring; those that there are already are used again."""
        if wiring is not self._wiring:
            self._spare += self._made.values()
            self._wiring, self._made = wiring, {}
        self._used = {}
        wanted = tuple(specs)
        for spec in wanted:
            if spec not in self._made:
                self._made[spec] = self._wire(spec, wiring)
        self._used = {spec: self._made[spec] for spec in wanted}
        return self._used

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _tb: TracebackType | None
    ) -> None:
        """Close what was made in vain."""
        used = {} if kind is not None else self._used
        for endpoint in (*self._spare, *(made for spec, made in self._made.items() if spec not in used)):
            endpoint.close()
