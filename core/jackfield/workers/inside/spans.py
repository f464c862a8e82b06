"""The tracer provider of a worker: records the spans that a plugin makes in a call, for the host to have them.

It is the least that OpenTelemetry's API asks for, since a worker need not have its SDK; imported only where the plugin
has imported that API, of whatever version. A plugin that has set a provider of its own keeps it.

Nothing here raises for what a plugin gives: what is no plain value is left out, what is too long is cut.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import Context, copy_context
from time import time_ns
from traceback import format_exception
from types import TracebackType
from typing import Any, Final

import msgspec
from opentelemetry import trace
from opentelemetry.context import Context as TraceContext
from opentelemetry.context import attach
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    Tracer,
    TracerProvider,
    get_current_span,
    set_span_in_context,
    use_span,
)

from jackfield.stack import error_type
from jackfield.workers.messages import Spans
from jackfield.workers.traced import LENGTH, PARTS, SPANS, VALUE, SpanEvent, SpanFact, SpanLink

try:
    from opentelemetry.util._decorator import _agnosticcontextmanager as _manager  # for async functions as well
except ImportError:  # an older one
    _manager = contextmanager  # type: ignore[assignment]  # as it was there

SIZE: Final = 1024 * 1024
"""The most bytes of the spans of one call; of those beyond only names, times and statuses are kept."""

_encode: Final = msgspec.msgpack.encode
_CODES: Final = tuple(StatusCode)


class Batch:
    """Records the spans of one call.

    Args:
        around: the span that the host has of the call.
    """

    def __init__(self, around: Any) -> None:
        _provide()
        self.flags = TraceFlags(around.trace_flags)
        self.context_around = SpanContext(around.trace_id, around.span_id, is_remote=True, trace_flags=self.flags)
        self._spans: list[_Recorded] = []
        self._lost = 0

    def context(self) -> Context:
        """Give a context in which the host's span is the current one."""
        made = copy_context()
        made.run(attach, set_span_in_context(_Around(self.context_around, self, None)))
        return made

    def open(self, around: "_Around | _Recorded", make: Any) -> Span:
        """Begin a span, as long as there are not too many; those below one that is not recorded are above it then."""
        if not self.flags & TraceFlags.SAMPLED:
            return around
        parent = around if isinstance(around, _Recorded) else around.recorded
        if len(self._spans) >= SPANS:
            self._lost += 1
            return _Around(around.get_span_context(), self, parent)
        number = os.urandom(8)  # not of `random`, which plugins seed
        context = SpanContext(
            self.context_around.trace_id, int.from_bytes(number, "big"), is_remote=False, trace_flags=self.flags
        )
        span: _Recorded = make(self, context, parent)
        self._spans.append(span)
        return span

    def taken(self, number: int) -> Spans | None:
        """End it; give the spans that have ended, each behind the one around it.

        Args:
            number: of the call on its channel.
        """
        spans, self._spans = self._spans[:SPANS], []
        facts: list[SpanFact] = []
        size = 0
        for span in spans:
            if not span.ended:
                continue
            fact = span.fact()
            length = len(_encode(fact))
            if size + length > SIZE:
                fact = msgspec.structs.replace(fact, attributes={}, events=(), links=())
                length = 0  # it is short, and there are not many
                self._lost += 1
            size += length
            facts.append(fact)
        return Spans(number, tuple(facts), self._lost) if facts or self._lost else None


class _Around(NonRecordingSpan):
    """Stands for a span that is not recorded here: the host's, or one too many."""

    def __init__(self, context: SpanContext, batch: Batch, recorded: "_Recorded | None") -> None:
        super().__init__(context)
        self.batch = batch
        self.recorded = recorded


class _Recorded(Span):
    def __init__(
        self,
        batch: Batch,
        context: SpanContext,
        parent: "_Recorded | None",
        *,
        name: str,
        scope: tuple[str, str],
        kind: SpanKind,
        start: int | None,
        records: bool,
        fails: bool,
    ) -> None:
        self.batch, self.parent, self.ended = batch, parent, 0
        self._context, self._name, self._scope, self._kind = context, _cut(name), scope, kind
        self._start = start if type(start) is int else time_ns()
        self._records, self._fails = records, fails
        self._status, self._description = StatusCode.UNSET, ""
        self._attributes: dict[str, Any] = {}
        self._events: list[SpanEvent] = []
        self._links: list[SpanLink] = []

    def get_span_context(self) -> SpanContext:
        return self._context

    def is_recording(self) -> bool:
        return not self.ended

    def end(self, end_time: int | None = None) -> None:
        if not self.ended:
            self.ended = end_time if type(end_time) is int and end_time > 0 else max(time_ns(), self._start, 1)

    def update_name(self, name: str) -> None:
        if not self.ended:
            self._name = _cut(name)

    def set_attribute(self, key: str, value: Any) -> None:
        if not self.ended:
            _put(self._attributes, key, value)

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        for key, value in attributes.items():
            self.set_attribute(key, value)

    def add_event(self, name: str, attributes: Any = None, timestamp: int | None = None) -> None:
        if not self.ended and len(self._events) < PARTS:
            moment = timestamp if type(timestamp) is int and 0 <= timestamp < 1 << 63 else time_ns()
            self._events.append(SpanEvent(_cut(name), moment, _plain(attributes)))

    def add_link(self, context: SpanContext, attributes: Any = None) -> None:
        if not self.ended and len(self._links) < PARTS and context.is_valid:
            numbers = context.trace_id.to_bytes(16, "big"), context.span_id.to_bytes(8, "big")
            self._links.append(SpanLink(*numbers, _plain(attributes)))

    def set_status(self, status: Any, description: str | None = None) -> None:
        if not isinstance(status, StatusCode):
            status, description = status.status_code, status.description
        if self.ended or self._status is StatusCode.OK or status is StatusCode.UNSET:  # as the specification has it
            return
        self._status = status
        self._description = _cut(description or "") if status is StatusCode.ERROR else ""

    def record_exception(
        self, exception: BaseException, attributes: Any = None, timestamp: int | None = None, escaped: bool = False
    ) -> None:
        try:
            message, stack = str(exception), "".join(format_exception(exception))
        except Exception:  # noqa: BLE001  # its own code
            message = stack = ""
        said = {"exception.type": error_type(exception), "exception.message": message}
        said |= {"exception.stacktrace": stack[-VALUE:], "exception.escaped": str(escaped)}
        self.add_event("exception", {**said, **(attributes or {})}, timestamp)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(error, Exception) and not self.ended:
            if self._records:
                self.record_exception(error)
            if self._fails:
                self.set_status(StatusCode.ERROR, error_type(error))
        super().__exit__(kind, error, traceback)

    def fact(self) -> SpanFact:
        """Give what is sent of it; of those around it that have ended, the nearest is its parent."""
        parent = self.parent
        while parent is not None and not parent.ended:
            parent = parent.parent
        return SpanFact(
            _number(self._context),
            None if parent is None else _number(parent.get_span_context()),
            self._name,
            _moment(self._start),
            _moment(self.ended),
            self._kind.value,
            _CODES.index(self._status),
            self._description,
            self._scope,
            self._attributes.copy(),
            tuple(self._events),
            tuple(self._links),
        )


class _Tracer(Tracer):
    def __init__(self, scope: tuple[str, str]) -> None:
        self._scope = scope

    def start_span(
        self,
        name: str,
        context: TraceContext | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Any = None,
        links: Sequence[Any] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
    ) -> Span:
        around = get_current_span(context)
        if not isinstance(around, _Around | _Recorded):  # of no call, or of another trace: it goes nowhere
            return NonRecordingSpan(around.get_span_context())

        def make(batch: Batch, own: SpanContext, parent: _Recorded | None) -> _Recorded:
            return _Recorded(
                batch,
                own,
                parent,
                name=name,
                scope=self._scope,
                kind=kind,
                start=start_time,
                records=record_exception,
                fails=set_status_on_exception,
            )

        span = around.batch.open(around, make)
        if isinstance(span, _Recorded) and span is not around:
            span.set_attributes(attributes or {})
            for link in links or ():
                span.add_link(link.context, link.attributes)
        return span

    @_manager
    def start_as_current_span(  # pyright: ignore[reportIncompatibleMethodOverride]  # as `_manager` was in older versions
        self,
        name: str,
        context: TraceContext | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Any = None,
        links: Sequence[Any] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
        end_on_exit: bool = True,
    ) -> Iterator[Span]:
        span = self.start_span(
            name, context, kind, attributes, links, start_time, record_exception, set_status_on_exception
        )
        with use_span(span, end_on_exit, record_exception, set_status_on_exception) as current:
            yield current


class _Provider(TracerProvider):
    def get_tracer(
        self,
        instrumenting_module_name: str,
        instrumenting_library_version: str | None = None,
        *_: Any,
        **__: Any,
    ) -> Tracer:
        return _Tracer((_cut(instrumenting_module_name or ""), _cut(instrumenting_library_version or "")))


def recorded_here() -> bytes | None:
    """Give the number of the recorded span around this; None if there is none."""
    around = get_current_span()
    span = around.recorded if isinstance(around, _Around) else around
    return _number(span.get_span_context()) if isinstance(span, _Recorded) else None


def _provide() -> None:
    """Be the process's provider, unless the plugin has set one: at its first traced call, so that its `start` can."""
    if getattr(trace, "_TRACER_PROVIDER", None) is None:  # the getter would look for one in the environment
        trace.set_tracer_provider(_Provider())


def _number(context: SpanContext) -> bytes:
    return context.span_id.to_bytes(8, "big")


def _moment(time: int) -> int:
    return min(max(time, 0), (1 << 63) - 1)


def _cut(text: Any, most: int = LENGTH) -> str:
    exact = str.__str__(text) if isinstance(text, str) else ""
    return exact[:most].encode("utf-8", "replace").decode()


def _plain(said: Any) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key, value in (said or {}).items():
        _put(made, key, value)
    return made


def _put(made: dict[str, Any], key: Any, value: Any) -> None:
    """Put in what is said, if OpenTelemetry has a form for it, and there is room."""
    key = _cut(key)
    plain = [_scalar(each) for each in value[:PARTS]] if isinstance(value, list | tuple) else _scalar(value)
    if not key or plain is None or (key not in made and len(made) >= PARTS):
        return
    made[key] = [each for each in plain if each is not None] if isinstance(plain, list) else plain


def _scalar(value: Any) -> bool | int | float | str | None:
    if isinstance(value, str):
        return _cut(value, VALUE)
    if isinstance(value, bool | float):
        return float(value) if isinstance(value, float) else value
    if isinstance(value, int):
        return int(value) if -(1 << 63) <= value < 1 << 63 else None
    return None
