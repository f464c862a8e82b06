"""Importing plugins so that one that hangs does not keep the others, or the host, from starting.

Each plugin is imported in a daemon thread, one after the other, for at most its start timeout. What hangs stays behind
in its thread, and with it the import lock of its module: whoever imports the same module would hang as well, so it is
told apart and left out at once, by the name of that module.
"""

import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from types import FrameType
from typing import TYPE_CHECKING, Any, Final, TypeVar

import attrs

from jackfield.errors import Fault, PluginError
from jackfield.runtime.pool import Pool

if TYPE_CHECKING:
    from jackfield.config import PluginConfig

T = TypeVar("T")

_LOOK: Final = 0.05  # seconds between two looks whether an import waits for one that hangs
_BOOTSTRAP: Final = "<frozen importlib._bootstrap>"


class Importing:
    """Runs what imports plugins.

    Args:
        pool: where the threads come from.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._hanging: dict[int, str] = {}  # thread → the plugin that it imports

    def run(self, config: "PluginConfig", body: Callable[[], T]) -> T:
        """Import a plugin.

        Args:
            config: its configuration: how long it may take, and whether the main thread must do it.
            body: imports it.

        Returns:
            What the body returns.

        Raises:
            PluginError: stage `import`, when it takes too long, waits for another that hangs, or must be imported by
                the main thread and this is another.
            BaseException: whatever the body raises.
        """
        if config.import_in == "main":
            if threading.current_thread() is not threading.main_thread():
                reason = 'it says `import_in = "main"`, and this is not the main thread'
                raise _refusal(config.name, reason, "make the host in the main thread")
            return body()
        done: Future[tuple[Any, BaseException | None]] = Future()
        ident: list[int] = []

        def job() -> None:
            ident.append(threading.get_ident())
            value, failure = None, None
            try:
                value = body()
            except BaseException as error:  # noqa: BLE001  # raised in the thread that waits
                failure = error
            self._hanging.pop(ident[0], None)
            done.set_result((value, failure))

        self._pool.start(f"{config.name}:import", job)
        value, failure = self._wait(config, done, ident)
        if failure is not None:
            raise failure
        result: T = value
        return result

    def _wait(
        self, config: "PluginConfig", done: "Future[tuple[Any, BaseException | None]]", ident: list[int]
    ) -> tuple[Any, BaseException | None]:
        left = config.start_timeout
        while left > 0:
            step = min(left, _LOOK) if self._hanging else left
            try:
                return done.result(step)
            except TimeoutError:
                if done.done():
                    return done.result()
                left -= step
            if self._hanging and ident and (found := _waits_for(ident[0])) is not None:
                module, owner = found
                if owner in self._hanging:
                    by = self._hanging[owner]
                    self._hanging[ident[0]] = config.name
                    reason = f"it is blocked: it imports {module}, which {by} is still importing"
                    raise _refusal(config.name, reason, f"see why the import of {module} hangs")
        if ident:
            self._hanging[ident[0]] = config.name
            if done.done():  # at the last moment
                self._hanging.pop(ident[0], None)
                return done.result()
        reason = f"importing it took longer than {config.start_timeout:g} s, and is left behind in its thread"
        where = _where(ident[0]) if ident else ""
        fix = 'let it do less when it is imported, raise start_timeout, or say `import_in = "main"`'
        raise _refusal(config.name, reason + where, fix)


def _refusal(plugin: str, reason: str, fix: str) -> PluginError:
    return PluginError(plugin, "import", reason, fix, (Fault("import", plugin, plugin, reason, fix),))


def _waits_for(thread: int) -> tuple[str, int] | None:
    """Tell which module's import lock a thread waits for, and which thread has that."""
    frame = sys._current_frames().get(thread)  # noqa: SLF001  # the documented way, for debuggers
    while frame is not None:
        code = frame.f_code
        if code.co_filename == _BOOTSTRAP and code.co_name == "acquire":
            lock = frame.f_locals.get("self")
            name, owner = getattr(lock, "name", None), getattr(lock, "owner", None)
            return (name, owner) if isinstance(name, str) and isinstance(owner, int) else None
        frame = frame.f_back
    return None


def _where(thread: int) -> str:
    """Name the line that an import is at: of the module that is being executed, not of what that waits in."""
    frame: FrameType | None = sys._current_frames().get(thread)  # noqa: SLF001  # as above
    while frame is not None and (frame.f_code.co_name != "<module>" or frame.f_code.co_filename.startswith("<")):
        frame = frame.f_back
    return "" if frame is None else f" ({frame.f_code.co_filename}:{frame.f_lineno})"


def hinted(fault: Fault) -> Fault:
    """Say what helps when a module can only be imported by the main thread."""
    if fault.stage != "import" or "main thread" not in fault.reason:
        return fault
    hint = f'say `import_in = "main"` for the plugin {fault.plugin}, to have it imported by the main thread'
    return attrs.evolve(fault, fix=hint)
