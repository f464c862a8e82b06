"""What the workers of one plugin may ask of their host: within its grants, and as the call that asks."""

from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from fnmatch import fnmatchcase
from typing import Any, Final

import msgspec

from jackfield import log
from jackfield.calls.dispatch import Caller
from jackfield.config.secrets import Secret
from jackfield.errors import PermissionDenied, ResourceExhausted, Unavailable
from jackfield.model.call import Call
from jackfield.observe.logger import call_fields
from jackfield.runtime.pool import Pool
from jackfield.text import one_line, printable
from jackfield.workers.answers import ASKED
from jackfield.workers.events import WorkerEvents
from jackfield.workers.messages import TEXT, CallRequest, Said, Spans
from jackfield.workers.spans import hand_over, within

_NAME: Final = 200  # characters of the name of a module or function
_REFUSED: Final = 100  # names of which is said that they were refused: a worker may ask for any
_LEVELS: Final = frozenset({"DEBUG", "INFO", "WARNING", "ERROR"})


class HostServices:
    """Answers the workers of one plugin.

    Args:
        plugin: its name.
        options: what the operator configured for it: the secrets that these name it may read.
        caller: makes nested calls.
        pool: where threads come from.
        calls: patterns of the functions that it may call beside its own.
        own: the names of its own functions; they come with its import.
        events: what it may publish and subscribe to.
    """

    def __init__(
        self,
        plugin: str,
        options: Mapping[str, Any],
        caller: Caller,
        pool: Pool,
        calls: tuple[str, ...],
        own: AbstractSet[str],
        events: WorkerEvents,
    ) -> None:
        self._events = events
        self._plugin, self._caller, self._pool, self._calls, self._own = plugin, caller, pool, calls, own
        self._wrong: set[str] = set()
        self._refused: set[str] = set()
        self._running: set[object] = set()  # one for each thread that works for them
        self._secrets = {secret.reference: secret for secret in _secrets(options)}

    def answer(self, kind: str, body: Any, call: Call | None) -> Any:
        """Answer a question in this thread; what is raised is what the worker gets."""
        if kind == "call":
            name, payload, options, span = self._nested(body, call)
            with within(span, call):
                self._check(name, options)
                return self._caller.call(name, payload, **options)
        if kind == "publish":
            return self._events.publish(body)
        return self._simple(kind, body)

    async def aanswer(self, kind: str, body: Any, call: Call | None) -> Any:
        """Do the same on an event loop."""
        if kind == "call":
            name, payload, options, span = self._nested(body, call)
            with within(span, call):
                self._check(name, options)
                return await self._caller.acall(name, payload, **options)
        if kind == "publish":
            return await self._events.apublish(body)
        return self._simple(kind, body)

    def said(self, said: Said, call: Call | None) -> None:
        """Log what a worker said, as what its plugin says in the call that the host has."""
        level = said.level if said.level in _LEVELS else "INFO"
        fields = {printable(key): one_line(value) for key, value in said.fields.items() if key not in _OF_CALL}
        fields |= {"plugin": self._plugin, **call_fields(call)}
        *names, line = said.where
        module, function = (printable(name[:_NAME]) for name in names)
        message = log.Message(level, printable(said.text[: TEXT + 1]), fields, None, module, function, line)
        if log.heard() and level != "DEBUG":
            log.tell(message)
        log.copy_to_loguru(message)

    def owns(self, name: str) -> bool:
        """Tell whether a function is the plugin's own."""
        return name in self._own

    def spanned(self, spans: Spans, call: Call) -> None:
        """Take in the spans that a worker has recorded; say once what is wrong with some."""
        for wrong in hand_over(spans, call):
            if wrong not in self._wrong:
                self._wrong.add(wrong)
                log.host_log(
                    "WARNING",
                    f"spans of the plugin {self._plugin} are left out: {wrong} (said once)",
                    plugin=self._plugin,
                    func_name=call.name,
                )

    def start(self, name: str, body: Callable[[], object]) -> None:
        """Do something in a thread of its own; what a worker has asked goes on without it, so all of them count."""
        if len(self._running) >= ASKED:
            raise ResourceExhausted(self._plugin, f"its workers ask {ASKED:,} things at once")
        token = object()
        self._running.add(token)

        def run() -> None:
            try:
                body()
            finally:
                self._running.discard(token)

        try:
            self._pool.start(name, run)
        except BaseException:
            self._running.discard(token)
            raise

    def _nested(self, body: Any, call: Call | None) -> tuple[str, Any, dict[str, Any], bytes | None]:
        try:
            asked = msgspec.convert(body, CallRequest)
        except msgspec.ValidationError as error:
            raise Unavailable(self._plugin, f"it asked for a call that is none: {error}", "protocol") from None
        name, tenant = asked.name, asked.tenant
        if tenant is not None and (call is None or tenant != call.tenant):
            raise PermissionDenied(name, "a worker calls for the tenant of the call that it runs, and for no other")
        options = {"timeout": asked.timeout, "version": asked.version, "headers": asked.headers}
        return name, asked.payload, options, asked.span

    def _check(self, name: str, options: dict[str, Any]) -> None:
        """Refuse a call that is not granted, unless it would reach the plugin's own: a name is easily claimed."""
        if any(fnmatchcase(name, pattern) for pattern in self._calls):
            return
        if name not in self._own or self._caller.whose(name, options["version"], options["headers"]) != self._plugin:
            shown = printable(name[:200])
            fix = f'allow = ["calls:{shown}"] under [plugin.worker] of {self._plugin} lets it'
            reason = f"the plugin {self._plugin} may not call it from its worker: {fix}"
            self._tell_refused(shown, reason)
            raise PermissionDenied(shown, reason)

    def _tell_refused(self, name: str, reason: str) -> None:
        """Say once what lacks a grant: what comes of it is a crash of the function, whose text is in no log."""
        if name not in self._refused and len(self._refused) < _REFUSED:
            self._refused.add(name)
            log.host_log("WARNING", f"{name}: {reason} (said once)", plugin=self._plugin, func_name=name)

    def _simple(self, kind: str, body: Any) -> Any:
        if kind == "secret":
            secret = self._secrets.get(body) if isinstance(body, str) else None
            if secret is None:
                raise PermissionDenied(self._plugin, "its options name no such secret")
            return secret.reveal()
        if kind in ("subscribe", "unsubscribe", "subscription"):
            return self._events.subscribed(kind, body)
        raise Unavailable(self._plugin, "it asked what no host answers", "protocol")


_OF_CALL: Final = frozenset({"plugin", "func_name", "version", "tenant", "trace_id", "span_id"})


def _secrets(value: Any) -> Iterator[Secret]:
    if isinstance(value, Secret):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _secrets(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _secrets(item)
