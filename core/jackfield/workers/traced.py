"""What a worker says of the spans that its plugin has made: plain data, bounded by its types.

A span of another shape is a breach of the protocol; the worker's side never makes one.
"""

from typing import Annotated, Final, TypeAlias

import msgspec

SPANS: Final = 256
"""The most spans of one call that a plugin in a worker makes itself."""

PARTS: Final = 32
"""The most attributes of a span, events or links; the most values of an attribute that has several."""

LENGTH: Final = 200
"""The most characters of the name of a span, an event or an attribute, and of what is said of its status."""

VALUE: Final = 4000
"""The most characters of the value of an attribute: of a stack trace, say."""

Name: TypeAlias = Annotated[str, msgspec.Meta(max_length=LENGTH)]
_Text: TypeAlias = Annotated[str, msgspec.Meta(max_length=VALUE)]
_Int: TypeAlias = Annotated[int, msgspec.Meta(ge=-(1 << 63), le=(1 << 63) - 1)]
_Values: TypeAlias = Annotated[list[bool | _Int | float | _Text], msgspec.Meta(max_length=PARTS)]

Attributes: TypeAlias = Annotated[dict[Name, bool | _Int | float | _Text | _Values], msgspec.Meta(max_length=PARTS)]
"""What is said of a span, an event or a link: OpenTelemetry's plain values."""

Moment: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
"""A time in nanoseconds since the epoch: that of all processes of one machine."""

SpanId: TypeAlias = Annotated[bytes, msgspec.Meta(min_length=8, max_length=8)]
"""The number of a span."""


class SpanEvent(msgspec.Struct, frozen=True, array_like=True):
    """Something that happened within a span; an exception, say."""

    name: Name
    time: Moment
    attributes: Attributes = {}


class SpanLink(msgspec.Struct, frozen=True, array_like=True):
    """Another span, of any trace, that a span has to do with."""

    trace: Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
    span: SpanId
    attributes: Attributes = {}


class SpanFact(msgspec.Struct, frozen=True, array_like=True):
    """A span that has ended. It is of the trace of its call, so it does not say of which.

    Attributes:
        id: its number, which is not 0.
        parent: of the span around it, which comes before it in `messages.Spans`; None for the call's.
        name: as its author named it.
        start: when it began.
        end: when it ended.
        kind: the value of OpenTelemetry's `SpanKind`.
        status: that of `StatusCode`.
        description: of an error.
        scope: name and version of what made it.
        attributes: what its author said of it.
        events: what happened within it.
        links: what else it has to do with.
    """

    id: SpanId
    parent: SpanId | None
    name: Name
    start: Moment
    end: Moment
    kind: Annotated[int, msgspec.Meta(ge=0, le=4)] = 0
    status: Annotated[int, msgspec.Meta(ge=0, le=2)] = 0
    description: Name = ""
    scope: tuple[Name, Name] = ("", "")
    attributes: Attributes = {}
    events: Annotated[tuple[SpanEvent, ...], msgspec.Meta(max_length=PARTS)] = ()
    links: Annotated[tuple[SpanLink, ...], msgspec.Meta(max_length=PARTS)] = ()
