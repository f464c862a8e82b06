"""The executors of a configuration: each is an adapter, which core finds and never imports."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from jackfield.config.adapters import load_adapter
from jackfield.config.executors import ExecutorSettings
from jackfield.ports import Executor

_FIX: Final = "pip install 'jackfield-contrib[client]' for `remote`"


def configured(settings: Mapping[str, ExecutorSettings]) -> dict[str, Executor]:
    """Make the executors of a configuration.

    Args:
        settings: name → what its adapter is made with.

    Raises:
        Unavailable: when nothing that is installed has such an executor, or its library is not there.
    """
    return {name: _adapter(each.kind)(each) for name, each in settings.items()}


def _adapter(kind: str) -> Callable[[ExecutorSettings], Any]:
    made: Callable[[ExecutorSettings], Any] = load_adapter(f"executor:{kind}", f"executor {kind}", _FIX)
    return made
