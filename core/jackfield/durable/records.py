"""What the store keeps of a submitted call.

- `calls/SS/ID/call`, what was submitted; it never changes.
- `calls/SS/ID/state`, what has become of it; absent until a host first runs it. Changed by compare-and-swap only.
- `calls/SS/ID/steps/STEP`, the completed steps of a flow.

`SS` is the beginning of the id: a store is read one prefix at a time, and so nobody ever reads all calls at once.
"""

import os
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Final

import msgspec

from jackfield.errors import FunctionCrashed, JackfieldError, PayloadError, Unavailable
from jackfield.model.keys import VALUE_LIMIT
from jackfield.model.submission import SubmissionState
from jackfield.wire.crossing import pack, shown, unpack
from jackfield.wire.errors import Failure, describe, restore

PREFIX: Final = "calls/"
SHARDS: Final = tuple(f"{PREFIX}{number:02x}/" for number in range(256))
VERSION: Final = 1

KEY_LIMIT: Final = 1_024
"""The most bytes that the key of a submission may have in UTF-8."""

_ID: Final = 32  # hexadecimal digits
_SPARE: Final = 1_024  # bytes that a record takes beside what it holds
_SECRETS: Final = ("auth", "cookie", "signature", "secret", "token", "password", "credential", "session", "api-key")


class Submitted(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was submitted.

    Attributes:
        function: its name.
        version: the one that the rules of routing picked.
        payload: plain data, as `wire.crossing` writes it.
        digest: of the payload, whatever the order of its keys.
        nonce: makes it differ from an earlier call of the same id; its state has the same.
        submitted: seconds since the epoch.
        lived: of the hosts of the store, at that time; see `Lifetime`.
        timeout: seconds that it may take, or None.
        repeatable: whether it may be run again when nobody knows how an attempt ended.
        flow: whether the function is a flow, whose completed steps are kept.
        key: as the caller gave it.
        tenant: whom it is for.
        headers: without secrets.
        trace: what carries the span that submitted it, and its baggage.
        keep: seconds that it is kept after it has ended, be the host's own time shorter; None for that alone.
        attempts: how often it is tried; None for what the host says.
        format: of this record.
    """

    function: str
    version: str
    payload: bytes
    digest: bytes
    nonce: bytes
    submitted: float
    lived: float
    timeout: float | None = None
    repeatable: bool = False
    flow: bool = False
    key: str | None = None
    tenant: str | None = None
    headers: dict[str, str] = {}
    trace: dict[str, str] = {}
    keep: float | None = None
    attempts: int | None = None
    format: int = VERSION


class State(msgspec.Struct, frozen=True, omit_defaults=True):
    """What has become of a submitted call.

    Attributes:
        nonce: of the call that it is the state of; with another it is left over from an earlier one of that id.
        status: where it is.
        at: seconds since the epoch, when that began.
        attempt: the number of its last attempt, from 1.
        tries: how many attempts count: those since it was last redriven that may have run.
        owner: the runner that has it, while it runs.
        epoch: how often it was claimed. Who claimed it in an earlier one cannot settle it.
        pause: seconds to wait before the next attempt, counted from when one learns of it.
        cancelling: whether it is to be cancelled.
        reason: why it is dead: `attempts`, `expired`, `unknown`.
        result: plain data, as `wire.crossing` writes it.
        failure: how it failed, or its last attempt.
        redriven: when it was last redriven, as seconds since the epoch and as the lifetime of hosts.
        links: the spans of earlier attempts.
        format: of this record.
    """

    nonce: bytes
    status: SubmissionState
    at: float
    attempt: int = 0
    tries: int = 0
    owner: str = ""
    epoch: int = 0
    pause: float = 0.0
    cancelling: bool = False
    reason: str = ""
    result: bytes | None = None
    failure: bytes | None = None
    redriven: tuple[float, float] | None = None
    links: tuple[str, ...] = ()
    format: int = VERSION


_write: Final = msgspec.msgpack.Encoder().encode
_sorted: Final = msgspec.msgpack.Encoder(order="deterministic").encode
_call: Final = msgspec.msgpack.Decoder(Submitted).decode
_state: Final = msgspec.msgpack.Decoder(State).decode


def write(record: Submitted | State) -> bytes:
    """Write a record for the store."""
    return _write(record)


def read_call(value: bytes, identifier: str) -> Submitted:
    """Read what was submitted.

    Raises:
        Unavailable: if this version of jackfield cannot.
    """
    try:
        call = _call(value)
    except msgspec.DecodeError as error:
        raise _unreadable(identifier) from error
    if call.format > VERSION:
        raise _unreadable(identifier)
    return call


def read_state(value: bytes, identifier: str) -> State:
    """Read a state; errors as for `read_call`."""
    try:
        state = _state(value)
    except msgspec.DecodeError as error:
        raise _unreadable(identifier) from error
    if state.format > VERSION:
        raise _unreadable(identifier)
    return state


def _unreadable(identifier: str) -> Unavailable:
    reason = "it was kept by another version of jackfield: let a host of that version finish it"
    return Unavailable(f"call {identifier}", reason, "store")


# --- Keys -------------------------------------------------------------------------------------------------------------


def under(identifier: str) -> str:
    """Give the prefix of everything that is kept of a call."""
    return f"{PREFIX}{identifier[:2]}/{identifier}/"


def call_key(identifier: str) -> str:
    """Give where a call stands."""
    return f"{under(identifier)}call"


def state_key(identifier: str) -> str:
    """Give where its state stands."""
    return f"{under(identifier)}state"


def part_of(key: str) -> tuple[str, str]:
    """Take a key apart: the call's id, and what of it; "" for what is no call's.

    Examples:
        >>> part_of(state_key("0a" * 16)) == ("0a" * 16, "state")
        True
    """
    segments = key.split("/", 3)
    return (segments[2], segments[3]) if len(segments) == 4 and is_id(segments[2]) else ("", "")  # noqa: PLR2004


def is_id(text: object) -> bool:
    """Tell whether something can be the id of a call."""
    return isinstance(text, str) and len(text) == _ID and not set(text) - set("0123456789abcdef")


def new_id() -> str:
    """Make an id that nobody can guess."""
    return os.urandom(16).hex()


def id_of(secret: bytes, tenant: str | None, function: str, key: str) -> str:
    """Give the id of the one call of a key, the same for every host of a store, and not to be guessed."""
    return blake2b(_write([tenant, function, key]), digest_size=16, key=secret).hexdigest()


# --- What goes into them ----------------------------------------------------------------------------------------------


def packed(function: str, payload: Any) -> tuple[bytes, bytes]:
    """Write a payload; give it and its digest.

    Raises:
        PayloadError: if it is no plain data, or larger than a store takes.
    """
    try:
        data = pack(payload)
    except TypeError as error:
        raise PayloadError(function, "$", "plain data, which can be kept", str(error)) from error
    if len(data) > VALUE_LIMIT - _SPARE:
        most = f"at most {VALUE_LIMIT - _SPARE:,} bytes, which a store takes: keep it elsewhere, and pass where"
        raise PayloadError(function, "$", most, f"{len(data):,} bytes")
    return data, blake2b(_ordered(data), digest_size=16).digest()


def _ordered(data: bytes) -> bytes:
    try:
        return _sorted(msgspec.msgpack.decode(data))
    except (TypeError, ValueError, RecursionError):  # keys of several types: then their order counts
        return data


def fitting(call: Submitted) -> bytes:
    """Write a call.

    Raises:
        PayloadError: if it is larger than a store takes, with its headers.
    """
    value = write(call)
    if len(value) > VALUE_LIMIT:
        most = f"at most {VALUE_LIMIT:,} bytes together with its headers, which a store takes"
        raise PayloadError(call.function, "$", most, f"{len(value):,} bytes")
    return value


def packed_result(result: Any) -> bytes | None:
    """Write a result; None if it is larger than a store takes.

    Raises:
        TypeError: with the path of what has no form.
    """
    data = pack(result)
    return data if len(data) <= VALUE_LIMIT - _SPARE else None


def packed_failure(error: BaseException, function: str) -> bytes:
    """Write an error, with no more than its text if it is very large."""
    failure = describe(error, function)
    data = pack(shown(msgspec.structs.asdict(failure)))
    if len(data) > VALUE_LIMIT // 2:
        data = pack(shown(msgspec.structs.asdict(failure.shortened())))
    return data


def failure_of(state: State, function: str) -> JackfieldError:
    """Give the error with which a call has ended, or its last attempt."""
    if state.failure is None:
        return FunctionCrashed(function, "jackfield.Unknown", "nothing is known of how it failed")
    return restore(msgspec.convert(unpack(state.failure), Failure), function)


def kept(headers: Mapping[str, str]) -> dict[str, str]:
    """Leave out the headers that may be secrets, by their names.

    Examples:
        >>> kept({"X-Request": "7", "Authorization": "Bearer 1", "Cookie": "a=b", "X-Hub-Signature-256": "sha256=…"})
        {'X-Request': '7'}
    """
    return {name: value for name, value in headers.items() if not any(word in name.lower() for word in _SECRETS)}
