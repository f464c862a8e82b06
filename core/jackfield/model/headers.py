"""Headers of a call: found by their names in any case, shown in the case that they came in."""

from collections.abc import Iterator, Mapping
from typing import Any


class Headers(Mapping[str, str]):
    """Headers as HTTP has them: their names have no case (RFC 9110, section 5.1). Immutable.

    Of names that differ in nothing but case the last one counts. The representation shows names alone: values are often
    secrets.

    Args:
        given: name → value.

    Attributes:
        fields: the name in lower case → the name as it came, and the value; not to be changed.

    Raises:
        TypeError: if it is no mapping, or a name or a value is no `str`.

    Examples:
        >>> headers = Headers({"X-Version": "1.1.0"})
        >>> headers["x-version"], "X-VERSION" in headers, list(headers), headers
        ('1.1.0', True, ['X-Version'], Headers('X-Version'))
    """

    __slots__ = ("fields",)

    def __init__(self, given: Mapping[str, str]) -> None:
        if type(given) is not dict and not isinstance(given, Mapping):
            example = "{'x-version': '1.1.0'}"
            raise TypeError(f"headers are a mapping of str to str, as in {example}, not {type(given).__name__}")
        fields: dict[str, tuple[str, str]] = {}
        for name, value in given.items():
            if type(name) is not str or type(value) is not str:
                _check(name, value)
            fields[name.lower() if name.isascii() else name] = name, value
        self.fields = fields

    @classmethod
    def in_lower_case(cls, given: Mapping[str, str]) -> "Headers":
        """Make headers of what is known to be text, with names in lower case, as HTTP's servers have them.

        Args:
            given: name → value.
        """
        made = cls.__new__(cls)
        made.fields = {name: (name, value) for name, value in given.items()}
        return made

    def __getitem__(self, name: str) -> str:
        """Give the value of a header, whatever the case of its name."""
        try:
            return self.fields[_folded(name)][1]
        except (KeyError, AttributeError):  # AttributeError: what is no `str` names no header
            raise KeyError(name) from None

    def get(self, name: Any, default: Any = None, /) -> Any:
        """Give the value of a header, whatever the case of its name, or the default."""
        found = self.fields.get(_folded(name)) if isinstance(name, str) else None
        return default if found is None else found[1]

    def __contains__(self, name: object) -> bool:
        """Tell whether there is such a header, whatever the case of its name."""
        return isinstance(name, str) and _folded(name) in self.fields

    def __iter__(self) -> Iterator[str]:
        """Give the names as they came."""
        return iter([name for name, _ in self.fields.values()])

    def __len__(self) -> int:
        """Count the headers."""
        return len(self.fields)

    def __eq__(self, other: object) -> bool:
        """Compare with any mapping, without regard to the case of names."""
        if not isinstance(other, Mapping):
            return NotImplemented
        mine = {name: value for name, (_, value) in self.fields.items()}
        return mine == {_folded(name) if isinstance(name, str) else name: value for name, value in other.items()}

    __hash__ = None  # type: ignore[assignment]  # as of every mapping

    def __repr__(self) -> str:
        """Show the names."""
        return f"Headers({', '.join(map(repr, self))})"


def _check(name: object, value: object) -> None:
    if not isinstance(name, str):
        raise TypeError(f"the name of a header is a str, not {type(name).__name__}")
    if not isinstance(value, str):
        raise TypeError(f"the value of header {name!r} is a str, not {type(value).__name__}")


def _folded(name: str) -> str:
    # Only ASCII letters have another case here: the Kelvin sign is no k.
    return name.lower() if name.isascii() else name
