"""Stand-ins for what the host provides: they have the types that plugins ask for, and ask the host."""

import sys
from collections.abc import Callable, Mapping
from typing import Any, Self

from jackfield import log
from jackfield.calls.dispatch import Caller
from jackfield.config.secrets import Secret
from jackfield.model.call import current
from jackfield.model.deadline import seconds_of, tighten
from jackfield.observe.logger import Logger
from jackfield.wire.crossing import shown
from jackfield.workers.inside.link import Link
from jackfield.workers.inside.tracing import span_here
from jackfield.workers.messages import CallRequest


class WorkerLogger(Logger):
    """A plugin's logger: what it logs is logged by the host, with the call that it knows."""

    __slots__ = ("_link",)

    def __init__(self, link: Link, plugin: str, **fields: object) -> None:
        self._plugin, self._fields, self._link = plugin, fields, link
        self._loguru = self._framed = _SILENT  # type: ignore[assignment]  # the host has one

    def bind(self, **fields: object) -> Self:
        """Make a logger with further fields."""
        return type(self)(self._link, self._plugin, **{**self._fields, **fields})

    def debug(self, message: str, /, **fields: object) -> None:
        """Log at level DEBUG; as `Logger.debug`."""
        self._tell("DEBUG", message, fields)

    def _tell(self, level: str, message: str, fields: dict[str, object]) -> None:
        frame = sys._getframe(2)  # noqa: SLF001  # what loguru itself does
        where = str(frame.f_globals.get("__name__", "")), frame.f_code.co_name, frame.f_lineno
        self._link.say(level, str(message), shown({**self._fields, **fields}), where)


class _Silent:
    def debug(self, *_: object, **__: object) -> None:
        """Do nothing."""

    info = warning = error = debug


_SILENT = _Silent()


def log_to(link: Link) -> Callable[[], None]:
    """Have what jackfield itself says in a worker logged by the host; give what ends that."""

    def sink(message: log.Message) -> None:
        where = message.module, message.function, message.line
        link.say(message.level, message.text, shown(dict(message.fields)), where)

    return log.install(sink)


class WorkerCaller(Caller):
    """Calls functions of the host, within the call that asks, and within the grants of the plugin."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def call(
        self,
        name: str,
        payload: Any = None,
        /,
        timeout: float | None = None,
        tenant: str | None = None,
        version: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Call a function and wait for its result; as `Caller.call`."""
        around = current.get()
        deadline = tighten(around.deadline if around is not None else None, timeout)
        return self._link.ask("call", _body(name, payload, timeout, tenant, version, headers), str(name), deadline)

    async def acall(
        self,
        name: str,
        payload: Any = None,
        /,
        timeout: float | None = None,
        tenant: str | None = None,
        version: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Await a function's result; as `Caller.acall`."""
        return await self._link.aask("call", _body(name, payload, timeout, tenant, version, headers), str(name))


def _body(
    name: str,
    payload: Any,
    timeout: float | None,
    tenant: str | None,
    version: str | None,
    headers: Mapping[str, str] | None,
) -> CallRequest:
    if timeout is not None:
        timeout = seconds_of(timeout)
    return CallRequest(name, payload, timeout, tenant, version, None if headers is None else dict(headers), span_here())


class WorkerSecret(Secret):
    """A secret that the host reads: one of those that the plugin's options name."""

    def __init__(self, reference: str, link: Link) -> None:
        super().__init__(reference)
        object.__setattr__(self, "_link", link)

    def reveal(self) -> str:
        """Ask the host for the secret; as `Secret.reveal`."""
        return str(self._link.ask("secret", self.reference, self.reference))  # type: ignore[attr-defined]  # set above
