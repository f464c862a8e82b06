"""Spans: one OpenTelemetry span a call, and next to nothing where no span is wanted."""

from collections.abc import Callable
from contextvars import Token
from functools import partial
from typing import TYPE_CHECKING, Any

from msgspec.structs import force_setattr
from opentelemetry import context as otel_context
from opentelemetry import propagate, trace
from opentelemetry.context import Context, attach, detach
from opentelemetry.semconv.attributes.code_attributes import CODE_FUNCTION_NAME
from opentelemetry.semconv.attributes.error_attributes import ERROR_TYPE
from opentelemetry.trace import (
    NonRecordingSpan,
    NoOpTracer,
    ProxyTracer,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    Tracer,
    TracerProvider,
    get_current_span,
    set_span_in_context,
)

from jackfield.errors import OUTCOMES, Outcome
from jackfield.model.call import Call, in_step
from jackfield.model.spec import FunctionSpec
from jackfield.stack import error_type
from jackfield.strangers import is_a

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.id_generator import IdGenerator

SCOPE = "jackfield"
FUNCTION, VERSION, PLUGIN = "jackfield.function", "jackfield.version", "jackfield.plugin"
TENANT, REVISION, OUTCOME = "jackfield.tenant", "jackfield.revision", "jackfield.outcome"
ATTEMPT = "jackfield.attempt"
STEP = "jackfield.step"

_TEXTS = {outcome: outcome.value for outcome in Outcome}
_FAILED = frozenset(outcome for outcome, row in OUTCOMES.items() if row.span_error)

State = tuple[Span | None, Token[Context]] | None
"""What `finish` needs: the span to end, if one is recorded, and the context to leave; None for nothing to undo."""


class Spans:
    """Make a span for every call: SERVER below a remote parent, INTERNAL otherwise; nested calls are its children.

    A remote parent is one that a door made current, or that the call's headers carry (in the form that the globally
    configured propagator reads). Below a parent that is not sampled no span is made at all, when the sampler would
    drop it anyway; the trace id is kept for the log. An exception is never recorded on the span: the log has it,
    once.

    Args:
        tracer_provider: where spans come from; by default the global provider of the moment a function is registered.
            It is used, never set or replaced. While there is none, calls cost next to nothing; once the process sets
            one, spans begin.

    Examples:
        >>> from jackfield.ports import Observer
        >>> isinstance(Spans(), Observer)
        True
    """

    def __init__(self, tracer_provider: TracerProvider | None = None) -> None:
        self.provider = tracer_provider

    def bind(self, spec: FunctionSpec) -> "BoundSpans":
        """Bind to one function version.

        Args:
            spec: the function; its name is the spans' name.

        Returns:
            The bound observer.
        """
        provider = self.provider if self.provider is not None else trace.get_tracer_provider()
        attributes = {CODE_FUNCTION_NAME: _code_name(spec.target), FUNCTION: spec.name, VERSION: spec.version}
        if spec.plugin:
            attributes[PLUGIN] = spec.plugin
        return BoundSpans(spec.name, attributes, provider.get_tracer(SCOPE))


class BoundSpans:
    """The spans of one function version."""

    __slots__ = ("_attributes", "_carriers", "_name", "_root_ids", "_skips_unsampled", "_tracer", "_waiting")

    def __init__(self, name: str, attributes: dict[str, str], tracer: Tracer) -> None:
        self._name = name
        self._attributes = attributes
        self._carriers = frozenset(map(str.lower, propagate.get_global_textmap().fields))
        self._use(tracer)

    def _use(self, tracer: Tracer) -> None:
        skips_unsampled, root_ids = False, None
        if type(tracer).__module__.startswith("opentelemetry.sdk."):
            from jackfield.observe import sampling  # noqa: PLC0415  # imports the SDK, which who does not trace need not wait for

            skips_unsampled, root_ids = sampling.certain(tracer)
        self._skips_unsampled: bool = skips_unsampled
        self._root_ids: IdGenerator | None = root_ids
        # In this order: a thread that sees the tracer must find the rest in place, one that no longer waits the tracer.
        self._tracer = None if isinstance(tracer, ProxyTracer | NoOpTracer) else tracer
        self._waiting = isinstance(tracer, ProxyTracer)

    def start(self, call: Call) -> State:
        """Open the call's span and make it the current one."""
        context = otel_context.get_current()
        parent = get_current_span(context).get_span_context()
        carried = False
        if call.headers and not parent.is_valid and not self._carriers.isdisjoint(map(str.lower, call.headers)):
            extracted = propagate.extract(call.headers, context)
            parent = get_current_span(extracted).get_span_context()
            carried = extracted is not context  # a parent, or baggage alone
            context = extracted
        orphan = not parent.is_valid
        if not orphan and self._skips_unsampled and not parent.trace_flags.sampled:
            force_setattr(call, "trace", parent)
            return (None, attach(context)) if carried else None
        tracer = self._tracer or self._arrived()
        if tracer is None:
            if not orphan:
                force_setattr(call, "trace", parent)
            return (None, attach(context)) if carried else None
        if orphan and self._root_ids is not None:
            ids = self._root_ids
            dropped = SpanContext(ids.generate_trace_id(), ids.generate_span_id(), is_remote=False)
            force_setattr(call, "trace", dropped)
            return None, attach(set_span_in_context(NonRecordingSpan(dropped), context))
        span = tracer.start_span(
            self._name,
            context,
            SpanKind.SERVER if not orphan and parent.is_remote else SpanKind.INTERNAL,
            {**self._attributes, REVISION: call.revision}
            if call.tenant is None
            else {**self._attributes, REVISION: call.revision, TENANT: call.tenant},
            record_exception=False,
            set_status_on_exception=False,
        )
        recorded = span.is_recording()
        if recorded and (step := in_step.get()) is not None and step[0] is call.parent:
            span.set_attribute(STEP, step[1])
        own = span.get_span_context()
        force_setattr(call, "trace", own if recorded or orphan else parent)
        return span if recorded else None, attach(set_span_in_context(span, context))

    def finish(self, state: State, call: Call, outcome: Outcome, error: BaseException | None, duration: float) -> None:  # noqa: ARG002
        """Leave the span's context, give it its status and end it."""
        if state is None:
            return
        span, token = state
        detach(token)
        if span is None:
            return
        try:
            span.set_attribute(OUTCOME, _TEXTS[outcome])
            if call.attempt > 1:
                span.set_attribute(ATTEMPT, call.attempt)
            if outcome in _FAILED:
                span.set_attribute(ERROR_TYPE, error_type(error) if error is not None else _TEXTS[outcome])
                span.set_status(StatusCode.ERROR)
        finally:
            span.end()

    def retried(self, call: Call, outcome: Outcome, error: BaseException, duration: float) -> None:  # noqa: ARG002
        """Note on the call's span that an attempt failed and is followed by another."""
        span = get_current_span()
        if span.is_recording() and span.get_span_context() == call.trace:
            facts = {OUTCOME: _TEXTS[outcome], ERROR_TYPE: error_type(error)}
            span.add_event("jackfield.retry", {ATTEMPT: call.attempt, **facts})

    def close(self) -> None:
        """Release nothing: only names are held."""

    def _arrived(self) -> Tracer | None:
        """Give the tracer, once a process that had no provider at registration has set one."""
        # The module's own global: `get_tracer_provider()` reads the environment, at three times a call's cost.
        if self._waiting and (provider := getattr(trace, "_TRACER_PROVIDER", None)) is not None:
            self._use(provider.get_tracer(SCOPE))
        return self._tracer


def _code_name(target: Callable[..., Any]) -> str:
    """Give the qualified name of the code that runs: what a partial wraps, the `__call__` of an instance or class."""
    while is_a(target, partial):
        target = target.func
    if is_a(target, type):
        return f"{target.__module__}.{target.__qualname__}.__call__"
    name = getattr(target, "__qualname__", None)
    if isinstance(name, str):
        module = getattr(target, "__module__", None)
        return f"{module}.{name}" if isinstance(module, str) else name
    kind = type(target)
    return f"{kind.__module__}.{kind.__qualname__}.__call__"
