"""A plugin's own options."""

from collections.abc import Iterator, Mapping
from typing import Any

from jackfield.model.injectable import injectable


@injectable
class Config(Mapping[str, Any]):
    """The options that the operator gave a plugin; read-only, injectable by type, empty when there are none.

    Args:
        plugin: whose options they are.
        options: the values; the mapping is copied.

    Examples:
        >>> config = Config("billing", {"currency": "EUR"})
        >>> config["currency"], config.get("rounding", "half-even")
        ('EUR', 'half-even')
    """

    def __init__(self, plugin: str, options: Mapping[str, Any]) -> None:
        self.plugin = plugin
        self._options = dict(options)

    def __getitem__(self, key: str) -> Any:
        """Give one option."""
        return self._options[key]

    def __iter__(self) -> Iterator[str]:
        """Walk the names of the options."""
        return iter(self._options)

    def __len__(self) -> int:
        """Count the options."""
        return len(self._options)

    def __repr__(self) -> str:
        """Show the names alone: values may be secrets."""
        return f"Config({self.plugin!r}, options: {', '.join(self._options) or 'none'})"
