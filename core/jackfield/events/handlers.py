"""What there is to know of a handler: its name, its colour, and how it is kept from harming the loop it runs on."""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any

Handler = Callable[[Any], object]
RunAsync = Callable[[Coroutine[Any, Any, None]], "Future[None]"]


def handler_name(handler: Handler) -> str:
    """Name a handler by its module and qualified name, whatever kind of callable it is.

    Examples:
        >>> handler_name(handler_name)
        'jackfield.events.handlers.handler_name'
        >>> handler_name([].append)
        'list.append'
    """
    named: Any = handler if hasattr(handler, "__qualname__") else getattr(handler, "func", type(handler))
    module = getattr(named, "__module__", None)
    name = getattr(named, "__qualname__", None) or type(named).__qualname__
    return f"{module}.{name}" if module else name


async def contain(start: Callable[[], Coroutine[Any, Any, object]]) -> None:
    """Await a handler; a `SystemExit` in it would otherwise end the host's event loop.

    Args:
        start: makes the handler's coroutine; called on the loop, lest one be left unawaited when that ends first.

    Raises:
        RuntimeError: in place of `SystemExit` and `KeyboardInterrupt`.
    """
    try:
        await start()
    except (SystemExit, KeyboardInterrupt) as error:
        raise RuntimeError(f"an event handler raised {type(error).__name__}") from error


def outcome(future: "Future[None]") -> BaseException | None:
    """Give what a finished future ended with, a cancellation included."""
    return asyncio.CancelledError() if future.cancelled() else future.exception()


def in_event_loop() -> bool:
    """Tell whether this thread runs an event loop, which must not be blocked."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
