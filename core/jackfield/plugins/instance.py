"""A plugin object: which of the optional methods it has, and calling them whatever their colour."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from concurrent.futures import CancelledError, Future
from time import monotonic
from types import FunctionType, MethodType, ModuleType
from typing import Any

from jackfield.errors import Cancelled, Fault, JackfieldError, PluginError
from jackfield.injection.hints import signature
from jackfield.log import confide
from jackfield.runtime.home import HomeLoop
from jackfield.stack import blamed, ours
from jackfield.strangers import is_a, is_interrupt

METHODS = {"start": 0, "stop": 0, "health": 0, "snapshot": 0, "restore": 1}
"""The methods that a plugin object may have, and how many arguments each is given."""

Watch = Callable[["Future[Any]"], object]


class TookTooLong(Exception):  # not for users: it becomes a fault
    """Something of a plugin did not end in its time."""


class Instance:
    """One plugin object, or the absence of one.

    Args:
        plugin: whose it is.
        target: the object; None when the plugin has none.
        home: where its async methods run.

    Raises:
        PluginError: if an attribute named like one of `METHODS` is not a method that can be called so.
    """

    def __init__(self, plugin: str, target: object | None, home: HomeLoop) -> None:
        self.plugin = plugin
        self.target = target
        self._home = home
        self._methods = _methods(plugin, target)

    def has(self, method: str) -> bool:
        """Tell whether the object has one of the optional methods."""
        return method in self._methods

    def method(self, name: str) -> Callable[..., Any] | None:
        """Give one of the optional methods, bound, or None if the object lacks it."""
        return self._methods.get(name)

    def invoke(self, method: str, *arguments: Any, ends: float | None = None, watch: Watch | None = None) -> Any:
        """Call a method in this thread and, if it is async, wait for it while it runs on the home loop.

        Args:
            method: one of `METHODS`; if the object lacks it, nothing happens.
            *arguments: what it gets.
            ends: when to cancel it if it is async, on `time.monotonic`'s clock. A sync one is not interrupted.
            watch: gets the future of an async one, to cancel it from elsewhere.

        Returns:
            What the method gives.

        Raises:
            TookTooLong: if it was cancelled at `ends`.
            Cancelled: if it was cancelled by somebody else.
            BaseException: whatever it raises.
        """
        bound = self._methods.get(method)
        return None if bound is None else self.settle(bound(*arguments), ends, watch)

    def settle(self, result: Any, ends: float | None = None, watch: Watch | None = None) -> Any:
        """Wait for what a method gave, if that is awaitable; arguments and errors are those of `invoke`."""
        if result is None or not inspect.isawaitable(result):
            return result
        future = self._home.submit(self.plugin, _contained(result))
        if watch is not None:
            watch(future)
        try:
            value, error = future.result(None if ends is None else max(ends - monotonic(), 0.0))
        except CancelledError:
            raise Cancelled(self.plugin, "the plugin is being stopped, or the host's event loop ended") from None
        except TimeoutError:
            future.cancel()
            raise TookTooLong from None
        except BaseException:
            future.cancel()  # KeyboardInterrupt while waiting
            raise
        if error is not None:
            raise error
        return value

    def checked(self, method: str, *arguments: Any, ends: float) -> Any:
        """Call a method as `invoke` does, and say what went wrong as a fault of that method.

        Args:
            method: one of `METHODS`; if the object lacks it, nothing happens.
            *arguments: what it gets.
            ends: when to cancel it if it is async, on `time.monotonic`'s clock.

        Returns:
            What the method gives.

        Raises:
            PluginError: if it raises or is cancelled at `ends`; the stage is the method's name.
        """
        try:
            return self.invoke(method, *arguments, ends=ends)
        except TookTooLong:
            fix = f"make {method}() return sooner"
            raise PluginError(self.plugin, method, f"{method}() took too long", fix) from None
        except BaseException as error:
            if is_interrupt(error):
                raise
            fault = fault_of(error, method, self.plugin, f"{method}()")
            raise PluginError(self.plugin, method, fault.reason, fault.fix, (fault,)) from error


def _methods(plugin: str, target: object | None) -> dict[str, Callable[..., Any]]:
    found: dict[str, Callable[..., Any]] = {}
    faults: list[Fault] = []
    for name, given in METHODS.items():
        bound = getattr(target, name, None)
        if bound is None or isinstance(bound, ModuleType):  # a package may have a submodule of that name
            continue
        wrong = _misfit(bound, given)
        if wrong:
            fix = f"make it a method that takes {'one argument' if given else 'no arguments'}, or give it another name"
            faults.append(Fault("make", plugin, f"{plugin}.{name}", wrong, fix))
        else:
            found[name] = bound
    if faults:
        first = faults[0]
        raise PluginError(plugin, "make", f"{first.entry}: {first.reason}", first.fix, tuple(faults))
    return found


def _misfit(bound: Any, given: int) -> str:
    if not callable(bound):
        return f"it is not a method but {type(bound).__name__}"
    if isinstance(bound, MethodType) and isinstance(bound.__func__, FunctionType):
        code = bound.__func__.__code__
        if code.co_argcount == given + 1 and not code.co_kwonlyargcount:  # almost always; `signature` takes 60 µs
            return ""
    try:
        read = signature(bound)
    except (TypeError, ValueError):  # no signature to be had: calling it will tell
        return ""
    try:
        read.bind(*range(given))
    except TypeError as error:
        return f"it cannot be called with {given or 'no'} argument{'s' if given != 1 else ''}: {error}"
    return ""


async def _contained(awaitable: Awaitable[Any]) -> tuple[Any, BaseException | None]:
    """Await something of a plugin; a `SystemExit` in it would otherwise end the home loop."""
    try:
        return await awaitable, None
    except asyncio.CancelledError:
        raise
    except BaseException as error:  # raised again in the thread that waits
        if is_interrupt(error):
            raise
        return None, error


def fault_of(error: BaseException, stage: str, plugin: str, doing: str) -> Fault:
    """Say what went wrong as a fault.

    Args:
        error: what was raised.
        stage: `make`, `start`, `register`, `stop`, `health`, …
        plugin: whose it is.
        doing: what was being done, as in `start()`.
    """
    if is_a(error, PluginError) and ours(error):
        return Fault(error.stage, plugin, plugin, error.reason, error.fix)
    if is_a(error, JackfieldError) and error.faults and ours(error):
        first, more = error.faults[0], len(error.faults) - 1
        also = f" (and {more} more)" if more else ""
        return Fault(stage, plugin, first.entry or plugin, f"{doing}: {first.reason}{also}", first.fix)
    confide(f"plugin {plugin}: {doing}", error)
    return Fault(stage, plugin, plugin, f"{doing} raised {blamed(error)}", f"correct that, then start {plugin!r} again")
