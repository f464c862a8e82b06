"""The executors of a configuration: each is an adapter, which core finds and never imports."""

from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Any

from jackfield.config.executors import ExecutorSettings
from jackfield.config.store_check import ADAPTERS
from jackfield.errors import Unavailable
from jackfield.ports import Executor


def configured(settings: Mapping[str, ExecutorSettings]) -> dict[str, Executor]:
    """Make the executors of a configuration.

    Args:
        settings: name → what its adapter is made with.

    Raises:
        Unavailable: when nothing that is installed has such an executor.
    """
    return {name: _adapter(each.kind)(each) for name, each in settings.items()}


def _adapter(kind: str) -> Callable[[ExecutorSettings], Any]:
    for point in entry_points(group=ADAPTERS, name=f"executor:{kind}"):
        made: Callable[[ExecutorSettings], Any] = point.load()
        return made
    reason = "nothing that is installed has one: pip install 'jackfield-contrib[client]' for `remote`"
    raise Unavailable(f"executor {kind}", reason)
