"""Traces of strangers: their ids count, their wish to be recorded does not."""

from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context

_LENGTH: Final = 55  # of version 00 of W3C's Trace Context, section 3.2
_ID: Final = slice(3, 35)
_FLAGS: Final = slice(53, 55)


def retraced(traceparent: bytes) -> bytes:
    """Replace what a `traceparent` says of being sampled by what the host's own sampler says of such a trace.

    Args:
        traceparent: the header of a request (W3C Trace Context).

    Returns:
        The header with the same ids; what is no such header is left as it is, since nobody will read it as one.
    """
    if len(traceparent) < _LENGTH:
        return traceparent
    try:
        number = int(traceparent[_ID], 16)
    except ValueError:
        return traceparent
    flags = b"01" if _records(number) else b"00"
    if traceparent[_FLAGS] == flags:
        return traceparent
    return traceparent[: _FLAGS.start] + flags + traceparent[_FLAGS.stop :]


def _records(number: int) -> bool:
    """Ask the process's sampler, as if the trace began here."""
    # The module's own global: `get_tracer_provider()` reads the environment, each time.
    sampler = getattr(getattr(trace, "_TRACER_PROVIDER", None), "sampler", None)
    if sampler is None:  # nobody records anything
        return False
    decided: bool = sampler.should_sample(Context(), number, "").decision.is_sampled()
    return decided
