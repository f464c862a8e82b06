"""What host, zygotes and workers say to one another: typed values, in frames as `channel` makes them.

The host believes nothing that a worker or the zygote of a plugin says: a message of another shape is a breach of the
protocol, and costs that process its life. Times are remaining seconds, since two processes share no clock.
"""

from inspect import _ParameterKind
from typing import Annotated, Any, Final

import msgspec

from jackfield.model import progress
from jackfield.model.spec import Colour, PayloadShape
from jackfield.wire.errors import Failure, describe
from jackfield.wire.frames import shown
from jackfield.workers.frames import CARRIED
from jackfield.workers.traced import SPANS, SpanFact, SpanId

VERSION: Final = 5
"""Of this protocol; both sides are of one installation, and say so when they meet."""


def failure_of(error: BaseException, what: str) -> Failure:
    """Describe an error as `wire.errors.describe` does, so that it can be written and fits into any message."""
    failure = describe(error, what)
    try:
        size = len(msgspec.msgpack.encode(failure))
    except (TypeError, ValueError, OverflowError, RecursionError):  # the details of a refusal: it is one all the same
        failure = msgspec.structs.replace(failure, fields=shown(failure.fields))
        size = len(msgspec.msgpack.encode(failure))
    return failure if size <= CARRIED else failure.shortened()


NOTHING: Final = msgspec.Raw(b"\xc0")
"""The result of what has none: None."""

TEXT: Final = 16_000
"""The most characters of what is logged."""

EVENT: Final = "event:"
"""What the name of a `Method` begins with that brings an event; then comes the key of the subscription."""

PROBE: Final = "probe:"
"""What the name of a `Method` begins with that calls any method of the object, or a function; then comes its name."""


JOIN: Final = "join"
"""The name of a `Method` that brings a further plugin; its state is a `Prepare`."""

SPAN: Final = 2**16
"""How many function numbers each plugin of a shared process has; those of the first are below it."""


class _Message(msgspec.Struct, frozen=True, array_like=True):
    pass


class Place(msgspec.Struct, frozen=True, array_like=True):
    """Where a value is in the memory that both sides share; see `arena`.

    Attributes:
        start: of it, in the half of whoever wrote it.
        size: bytes.
        bare: whether it is bytes as they are; else MessagePack.
    """

    start: int
    size: int
    bare: bool


# --- Host → worker ---------------------------------------------------------------------------------------------------


class Invoke(_Message, frozen=True, array_like=True, tag=1):
    """Call a function.

    Attributes:
        id: of this call on this channel.
        function: its place in `Described.functions`.
        payload: plain data.
        budget: seconds that are left; None without a limit.
        number: the call's own, 16 bytes.
        revision: of the host's snapshot.
        about: what few calls have.
        place: where the payload is, if it is not here.
        took: as in `Took`.
    """

    id: int
    function: int
    payload: msgspec.Raw
    budget: float | None
    number: bytes
    revision: int
    about: "About | None" = None
    place: Place | None = None
    took: tuple[Place, ...] = ()


class About(msgspec.Struct, frozen=True, array_like=True):
    """What few calls have.

    Attributes:
        tenant: whom it is for.
        headers: as the caller gave them.
        rule: why this version runs.
        attempt: 1 for the first try.
        trace: numbers of its trace and span, and the flags; None when it is not traced.
        heard: whether somebody listens to how far it has come.
    """

    tenant: str | None = None
    headers: dict[str, str] = {}
    rule: str = ""
    attempt: int = 1
    trace: tuple[bytes, bytes, int] | None = None
    heard: bool = False


class Cancel(_Message, frozen=True, array_like=True, tag=2):
    """Nobody waits for a call any more.

    Attributes:
        id: of the call.
    """

    id: int


class Method(_Message, frozen=True, array_like=True, tag=3):
    """Call one of the optional methods of the plugin object.

    Attributes:
        id: of this question on this channel.
        name: `start`, `stop`, `health`, `snapshot` or `restore`; or `EVENT` or `PROBE` and more.
        state: what `start` hands to `restore`; or the event.
        budget: seconds that are left.
        member: the number of the plugin in its process: 0 for the first, and mostly only, one.
    """

    id: int
    name: str
    state: bytes | None
    budget: float
    member: int = 0


class Answer(_Message, frozen=True, array_like=True, tag=4):
    """Answer what a worker asked of its host.

    Attributes:
        id: of the question.
        result: plain data; empty with a failure.
        failure: why there is none.
        place: where the result is, if it is not here.
    """

    id: int
    result: msgspec.Raw
    failure: Failure | None = None
    place: Place | None = None


class Took(_Message, frozen=True, array_like=True, tag=5):
    """Results have been copied out of the memory that both share.

    Attributes:
        places: where they were.
    """

    places: tuple[Place, ...]


ToWorker = Invoke | Cancel | Method | Answer | Took
"""What a worker takes."""


# --- Worker → host ---------------------------------------------------------------------------------------------------


class Ready(_Message, frozen=True, array_like=True, tag=1):
    """The first that a worker says, on both its channels.

    Attributes:
        version: of the protocol.
        pid: as it sees itself.
    """

    version: int
    pid: int


class Result(_Message, frozen=True, array_like=True, tag=2):
    """A call or a method has ended.

    Attributes:
        id: of it.
        result: plain data.
        failure: what it raised instead.
        place: where the result is, if it is not here.
    """

    id: int
    result: msgspec.Raw
    failure: Failure | None = None
    place: Place | None = None


class Request(_Message, frozen=True, array_like=True, tag=3):
    """Ask something of the host.

    Attributes:
        id: of the question.
        call: the call, on this channel, in which it is asked; 0 outside of any.
        kind: `call`, `publish`, `subscribe`, `unsubscribe`, `subscription` or `secret`.
        body: what is asked, by kind.
        place: where that is, if it is not here.
        member: the number of the plugin that asks, as in `Method`.
    """

    id: int
    call: int
    kind: str
    body: msgspec.Raw
    place: Place | None = None
    member: int = 0


class Said(_Message, frozen=True, array_like=True, tag=4):
    """Something was logged.

    Attributes:
        call: as in `Request`.
        level: loguru's name of the level.
        text: what.
        fields: more of it, as plain data.
        where: module, function and line.
        member: the number of the plugin that says it, as in `Method`.
    """

    call: int
    level: str
    text: str
    fields: dict[str, Any]
    where: tuple[str, str, int]
    member: int = 0


class Spans(_Message, frozen=True, array_like=True, tag=5):
    """What a plugin has recorded in a call with OpenTelemetry; at most once a call, before its `Result`.

    Attributes:
        call: as in `Request`; never 0.
        spans: each behind the one around it.
        lost: how many there were beyond these, or are without attributes, events and links, being too large together.
    """

    call: int
    spans: Annotated[tuple[SpanFact, ...], msgspec.Meta(max_length=SPANS)]
    lost: Annotated[int, msgspec.Meta(ge=0)] = 0


class Progressed(_Message, frozen=True, array_like=True, tag=6):
    """How far a call has come, that somebody listens to.

    Attributes:
        call: as in `Request`; never 0.
        done: how much of it is done.
        total: how much there is; None when that is not known.
        text: what it is at.
    """

    call: int
    done: int | float
    total: int | float | None
    text: Annotated[str, msgspec.Meta(max_length=progress.TEXT)]


ToHost = Ready | Result | Request | Said | Spans | Progressed
"""What a host takes of a worker."""


class CallRequest(msgspec.Struct, frozen=True, array_like=True):
    """The body of a `Request` of kind `call`; as `Caller.call` has it.

    Attributes:
        name: of the function.
        payload: what goes with it.
        timeout: in seconds.
        tenant: whom it is for.
        version: which is asked for.
        headers: of the call.
        span: the plugin's own span around it, if there is one, which will be among the `Spans` of the call.
    """

    name: str
    payload: Any
    timeout: float | None = None
    tenant: str | None = None
    version: str | None = None
    headers: dict[str, str] | None = None
    span: SpanId | None = None


# --- What a zygote finds of a plugin ---------------------------------------------------------------------------------


class ParameterFact(msgspec.Struct, frozen=True):
    """One parameter of a function, as far as another process can know it."""

    name: str
    kind: _ParameterKind
    required: bool
    shown: str


class FunctionFact(msgspec.Struct, frozen=True):
    """One function, as far as another process can know it: what `FunctionSpec` has, in plain data."""

    name: str
    version: str
    colour: Colour
    shape: PayloadShape
    parameters: tuple[ParameterFact, ...]
    dependencies: tuple[str, ...]
    result: str
    payload_schema: dict[str, Any]
    result_schema: dict[str, Any]
    timeout: float | None
    idempotent: bool
    summary: str
    notes: tuple[str, ...]
    place: str


class FaultFact(msgspec.Struct, frozen=True):
    """A fault, as `jackfield.Fault`."""

    stage: str
    plugin: str
    entry: str
    reason: str
    fix: str = ""
    where: str = ""


class Described(_Message, frozen=True, array_like=True, tag=1):
    """What a plugin's import gave.

    Attributes:
        functions: all that can be called.
        methods: the public ones that its object has.
        version: of the plugin.
        distribution: the installed distribution that it is, or "".
        digest: of its file or folder, or "".
        faults: what was left out.
        fault: why nothing of it can be used.
        threads: how many threads there are after the import; more than one cannot be forked.
        notes: what the sandbox could not hold.
    """

    functions: tuple[FunctionFact, ...] = ()
    methods: tuple[str, ...] = ()
    version: str = "0"
    distribution: str = ""
    digest: str = ""
    faults: tuple[FaultFact, ...] = ()
    fault: FaultFact | None = None
    threads: int = 1
    notes: tuple[str, ...] = ()


class Forked(_Message, frozen=True, array_like=True, tag=2):
    """A worker has begun.

    Attributes:
        pid: its number, as the zygote sees it; 0 if none could be made.
        reason: why.
    """

    pid: int
    reason: str = ""


class Ended(_Message, frozen=True, array_like=True, tag=3):
    """A process has ended.

    Attributes:
        pid: as in `Forked`.
        status: as `os.waitstatus_to_exitcode` gives it: below 0 a signal.
    """

    pid: int
    status: int


FromZygote = Described | Forked | Ended
"""What a host takes of a zygote."""


class Prepare(_Message, frozen=True, array_like=True, tag=1):
    """Import a plugin, and fork its workers from then on: the first that a plugin's zygote is told.

    Attributes:
        config: the plugin's configuration, in MessagePack.
        paths: what is on `sys.path`, after Python's own library.
        sites: those of them whose metadata is read, and whose `.pth` files are obeyed, inside the sandbox.
        confinement: what it may, in MessagePack; empty without a sandbox.
        member: its number in its process, if it joins others there.
    """

    config: bytes
    paths: tuple[str, ...]
    sites: tuple[str, ...] = ()
    confinement: bytes = b""
    member: int = 0


class Fork(_Message, frozen=True, array_like=True, tag=2):
    """Make a worker, which gets the descriptors that come with this: its two channels, and the memory.

    Attributes:
        here: whether the zygote itself is to become that worker, since it cannot be forked.
    """

    here: bool = False


class End(_Message, frozen=True, array_like=True, tag=3):
    """Kill a plugin's zygote, with all that it has forked, and tell when it is gone.

    Attributes:
        pid: the zygote's.
    """

    pid: int


class Spawn(_Message, frozen=True, array_like=True, tag=4):
    """Become the zygote of a plugin, on the descriptors that come with this; which one, its own control socket says."""


ToZygote = Prepare | Fork | End | Spawn
"""What a zygote takes."""
