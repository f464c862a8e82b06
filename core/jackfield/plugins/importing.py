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
from jackfield.log import host_log
from jackfield.runtime.pool import Pool

if TYPE_CHECKING:
    from jackfield.config import PluginConfig

T = TypeVar("T")

_PATIENCE: Final = 5.0  # seconds after which it is said that an import still goes on
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

    def run(self, config: "PluginConfig", body: Callable[[], T], late: Callable[[T], object] | None = None) -> T:
        """Import a plugin.

        Args:
            config: its configuration: how long it may take, and whether the main thread must do it.
            body: imports it.
            late: takes back what it did, in its thread, if it ends after it was given up; None if there is nothing to.

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
            value: Any = None
            failure = None
            try:
                value = body()
            except BaseException as error:  # noqa: BLE001  # raised in the thread that waits
                failure = error
            if done.set_running_or_notify_cancel():  # else it was given up
                done.set_result((value, failure))
            elif failure is None and late is not None:
                late(value)
            self._hanging.pop(ident[0], None)

        self._pool.start(f"{config.name}:import", job)
        value, failure = self._wait(config, done, ident)
        if failure is not None:
            raise failure
        result: T = value
        return result

    def _wait(
        self, config: "PluginConfig", done: "Future[tuple[Any, BaseException | None]]", ident: list[int]
    ) -> tuple[Any, BaseException | None]:
        left, told, why = config.start_timeout, False, None
        while left > 0 and why is None:
            step = min(left, _LOOK if self._hanging else _PATIENCE)
            try:
                return done.result(step)
            except TimeoutError:
                if done.done():
                    return done.result()
                left -= step
            why = self._blocked(ident)
            if not told and why is None and left > 0 and config.start_timeout - left >= _PATIENCE:
                told = True
                said = f"is still being imported{_where(ident)}, for {left:.3g} s more at most"
                host_log("WARNING", f"plugin {config.name}: it {said}")
        for thread in ident:
            self._hanging[thread] = config.name
        if not done.cancel():  # it has ended at the last moment
            for thread in ident:
                self._hanging.pop(thread, None)
            return done.result()
        if why is not None:
            module, owner = why
            reason = f"it is blocked: it imports {module}, which {owner} is still importing"
            raise _refusal(config.name, reason, f"see why the import of {module} hangs")
        reason = f"importing it took longer than {config.start_timeout:g} s, and is left behind in its thread"
        fix = 'let it do less when it is imported, raise start_timeout, or say `import_in = "main"`'
        raise _refusal(config.name, reason + _where(ident), fix)

    def _blocked(self, ident: list[int]) -> tuple[str, str] | None:
        """Tell which module an import waits for, and which plugin, given up, is still importing that."""
        found = _waits_for(ident[0]) if self._hanging and ident else None
        return (found[0], self._hanging[found[1]]) if found is not None and found[1] in self._hanging else None


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


def _where(ident: list[int]) -> str:
    """Name the line that an import is at: of the module that is being executed, not of what that waits in."""
    frames = sys._current_frames()  # noqa: SLF001  # as above
    frame: FrameType | None = frames.get(ident[0]) if ident else None
    while frame is not None and (frame.f_code.co_name != "<module>" or frame.f_code.co_filename.startswith("<")):
        frame = frame.f_back
    return "" if frame is None else f" ({frame.f_code.co_filename}:{frame.f_lineno})"


def hinted(fault: Fault) -> Fault:
    """Say what helps when a module can only be imported by the main thread."""
    if fault.stage != "import" or "main thread" not in fault.reason:
        return fault
    hint = f'say `import_in = "main"` for the plugin {fault.plugin}, to have it imported by the main thread'
    return attrs.evolve(fault, fix=hint)
