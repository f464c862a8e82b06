"""Logs: one flat record a call, in JSON, readable on a terminal, or through loguru."""

import sys
from typing import Final, TextIO

from jackfield.errors import OUTCOMES, Outcome, Rejected
from jackfield.model.call import Call
from jackfield.model.names import NAME_LIMIT
from jackfield.model.spec import FunctionSpec
from jackfield.observe.record import Record, utc_now
from jackfield.observe.sinks import Sink, StreamSink, to_loguru
from jackfield.stack import error_message, error_type, frames
from jackfield.strangers import is_a

UNKNOWN: Final = "(unknown)"

_ROWS: Final = {outcome: (row.level, outcome.value) for outcome, row in OUTCOMES.items()}
_OK_LEVEL, _OK = _ROWS[Outcome.OK]


class Logs:
    """Write one record for each call: who was called, how it ended, how long it took, in which trace.

    A record never holds the payload, the headers or the values of variables. Failed calls are always logged, a crash
    with its frames; successful ones where that is asked for.

    - `Logs()`: failed calls go through loguru, to the sinks that the process has.
    - `Logs(sys.stderr)`: every call, one JSON object a line; on a terminal a readable, coloured line instead
      (`NO_COLOR` is heeded). Each line is written and flushed at once. A stream that fails is reported once, through
      loguru, and the calls go on.
    - `Logs(loguru=True)`: every call, through loguru.

    Args:
        stream: where lines are written, or None for loguru. It is never closed.
        successes: whether calls that end well are logged; by default where a stream is given or `loguru` is true.
        loguru: send the records through loguru.
        messages: put the text of an error into its record, and what exceptions of plugins say into what is logged of
            them, in this process until its host has stopped. Such a text may quote the payload, or a password;
            `Rejected.code`, types and places are always there.

    Raises:
        ValueError: when both a stream and loguru are asked for: add the stream to loguru as a sink, or give one of
            the two.

    Examples:
        >>> import io, json
        >>> from jackfield.model.spec import Colour, FunctionSpec
        >>> from jackfield.model.call import Call
        >>> lines = io.StringIO()
        >>> log = Logs(lines).bind(FunctionSpec("text.slugify", "1.0", "text", "", str.lower, Colour.SYNC))
        >>> log.finish(None, Call("text.slugify"), Outcome.OK, None, 0.000125)
        >>> record = json.loads(lines.getvalue())
        >>> record["level"], record["func_name"], record["duration_ms"], record["outcome"]
        ('INFO', 'text.slugify', 0.125, 'ok')
    """

    def __init__(
        self,
        stream: TextIO | None = None,
        *,
        successes: bool | None = None,
        loguru: bool = False,
        messages: bool = False,
    ) -> None:
        if stream is not None and loguru:
            raise ValueError(
                "Logs takes a stream or loguru=True, not both; loguru.logger.add(stream) sends records to both"
            )
        self._sink: Sink = to_loguru if stream is None else StreamSink(stream)
        self._successes = (loguru or stream is not None) if successes is None else successes
        self.messages = messages

    def add_sink(self, sink: Sink) -> None:
        """Have each record of functions that are bound from now on go somewhere else as well.

        Args:
            sink: takes it; it must neither wait nor raise.
        """
        first = self._sink

        def both(record: Record) -> None:
            first(record)
            sink(record)

        self._sink = both

    def bind(self, spec: FunctionSpec) -> "BoundLogs":
        """Bind to one function version.

        Args:
            spec: the function.

        Returns:
            The bound observer.
        """
        return BoundLogs(spec, self._sink, self._successes, self.messages)


class BoundLogs:
    """The records of one function version."""

    __slots__ = ("_messages", "_name", "_plugin", "_sink", "_successes", "_version")

    def __init__(self, spec: FunctionSpec, sink: Sink, successes: bool, messages: bool) -> None:
        self._name = sys.intern(spec.name)
        self._version = spec.version
        self._plugin = spec.plugin
        self._sink = sink
        self._successes = successes
        self._messages = messages

    def start(self, call: Call) -> None:
        """See nothing yet: the record is written when the call ends."""

    def finish(self, state: object, call: Call, outcome: Outcome, error: BaseException | None, duration: float) -> None:  # noqa: ARG002
        """Write the record."""
        if outcome is Outcome.OK:
            if not self._successes:
                return
            level, text = _OK_LEVEL, _OK
        else:
            level, text = _ROWS[outcome]
        trace = call.trace
        record = Record(
            utc_now(),
            level,
            "call",
            "" if trace is None else f"{trace.trace_id:032x}",
            "" if trace is None else f"{trace.span_id:016x}",
            self._name,
            self._version,
            self._plugin,
            call.tenant or "",
            int(duration * 1e6) / 1e3,  # to the microsecond, without the noise of a float's last digits
            text,
        )
        if call.attempt > 1:
            record.attempt = call.attempt
        if outcome is not Outcome.OK:
            self._explain(record, call, outcome, error)
        self._sink(record)

    def retried(self, call: Call, outcome: Outcome, error: BaseException, duration: float) -> None:
        """Write a record of an attempt that failed and is followed by another."""
        trace = call.trace  # as in `finish`, where calling a helper would cost every call 2 %
        record = Record(
            utc_now(),
            "WARNING",
            "retry",
            "" if trace is None else f"{trace.trace_id:032x}",
            "" if trace is None else f"{trace.span_id:016x}",
            self._name,
            self._version,
            self._plugin,
            call.tenant or "",
            int(duration * 1e6) / 1e3,
            _ROWS[outcome][1],
            attempt=call.attempt,
        )
        self._explain(record, call, outcome, error)
        self._sink(record)

    def close(self) -> None:
        """Release nothing: only names are held."""

    def _explain(self, record: Record, call: Call, outcome: Outcome, error: BaseException | None) -> None:
        if (
            self._name == UNKNOWN
        ):  # a metric must not have a series for every misspelling; a record should say what was asked for
            record.func_name = call.name[:NAME_LIMIT]
        if error is None:
            return
        record.error_type = error_type(error)
        if is_a(error, Rejected):
            record.code = _code(error)
        if self._messages:
            record.message = error_message(error)
        if outcome is Outcome.CRASHED:
            record.stack = frames(error)


def _code(refusal: Rejected) -> str:
    """Give the code of a refusal: a name, whatever a stranger's subclass makes of it."""
    try:
        return str.__str__(str(refusal.code))[:NAME_LIMIT]
    except BaseException:  # noqa: BLE001  # a property, or what has no text
        return ""
