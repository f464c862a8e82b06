"""A store whose errors are errors: one that raises what would end its event loop is unavailable."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Self, TypeVar

import attrs

from jackfield.errors import Unavailable
from jackfield.ports import Lease, Range, Store, Stored, StoreEvent
from jackfield.stack import error_type

T = TypeVar("T")


@attrs.frozen(eq=False)
class Contained:
    """Asks a store; adapter of `ports.Store`."""

    _store: Store

    async def get(self, key: str, /) -> Stored | None:
        """Read a value."""
        return await _contained(lambda: self._store.get(key))

    async def put(self, key: str, value: bytes, /, *, expected: int | None = None, lease: Lease | None = None) -> int:
        """Write a value."""
        real = lease.real if isinstance(lease, _ContainedLease) else lease
        return await _contained(lambda: self._store.put(key, value, expected=expected, lease=real))

    async def delete(self, key: str, /, *, expected: int | None = None) -> int:
        """Forget a key."""
        return await _contained(lambda: self._store.delete(key, expected=expected))

    async def range(self, prefix: str = "", /) -> Range:
        """Read all values under a prefix."""
        return await _contained(lambda: self._store.range(prefix))

    async def watch(self, prefix: str = "", /, *, since: int) -> AsyncGenerator[StoreEvent, None]:
        """Follow the writes under a prefix."""
        try:
            async with aclosing(self._store.watch(prefix, since=since)) as events:
                async for event in events:
                    yield event
        except (asyncio.CancelledError, GeneratorExit, Exception):
            raise
        except BaseException as error:
            raise _unavailable(error) from error

    async def lease(self, ttl: float, /) -> Lease:
        """Begin a lease."""
        return _ContainedLease(await _contained(lambda: self._store.lease(ttl)))

    async def close(self) -> None:
        """Leave it open: whoever has made it closes it."""


@attrs.frozen
class _ContainedLease:
    real: Lease

    @property
    def id(self) -> str:
        return self.real.id

    @property
    def ttl(self) -> float:
        return self.real.ttl

    async def renew(self) -> None:
        await _contained(self.real.renew)

    async def release(self) -> None:
        await _contained(self.real.release)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.release()


async def _contained(ask: Callable[[], Awaitable[T]]) -> T:
    try:
        return await ask()
    except (asyncio.CancelledError, GeneratorExit, Exception):
        raise
    except BaseException as error:  # a `SystemExit` in a task would end the loop
        raise _unavailable(error) from error


def _unavailable(error: BaseException) -> Unavailable:
    return Unavailable("store", f"it raised {error_type(error)}", "store")
