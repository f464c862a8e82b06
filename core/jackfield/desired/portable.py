"""What a store has of a host's work as lines of JSON: what is desired, schedules, and submitted calls.

A document is a header and such lines. Nothing in it is bound to the kind of store that it comes from, and a line is
what goes into a store as a whole or not at all: a call with its state, its result and its completed steps; all of what
is desired.

What is left out: states of plugins and the ids of hosts, which are of one place, and the secret of which the ids of
calls with a key are made, unless it is asked for. Whoever has that and knows a key knows the id.
"""

import hashlib
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from importlib.metadata import version
from tempfile import SpooledTemporaryFile
from typing import BinaryIO, Final

import msgspec

from jackfield.desired.documents import from_plain
from jackfield.durable.ledger import SECRET
from jackfield.durable.lifetime import KEY as LIFETIME
from jackfield.durable.records import SHARDS, State, Submitted, is_id, part_of, read_call, read_state
from jackfield.durable.records import VERSION as CALLS
from jackfield.durable.steps import Step, read_step
from jackfield.errors import JackfieldError
from jackfield.ports import Store
from jackfield.schedules.ledger import PREFIX as SCHEDULES
from jackfield.store.identity import HOSTS
from jackfield.wire.crossing import unpack

FORMAT: Final = "jackfield-state"
VERSION: Final = 1
DESIRED: Final = "desired/"

_LASTING: Final = (f"{DESIRED}state", f"{DESIRED}history/", f"{DESIRED}files/")  # the rest is of hosts that run

PARTS: Final = ("store", "secret", DESIRED, SCHEDULES, *SHARDS)
"""What a store is read by, one after the other, so that nobody ever has all of it in memory."""

_SPOOLED: Final = 8 * 1024 * 1024  # bytes that are not yet put on the disk


class StoreLine(msgspec.Struct, frozen=True, tag_field="record", tag="store"):
    """Where the document comes from.

    Attributes:
        hosts: the ids of the hosts of that store.
        lived: its `Lifetime`, by which calls expire.
    """

    hosts: tuple[str, ...] = ()
    lived: float = 0.0


class SecretLine(msgspec.Struct, frozen=True, tag_field="record", tag="secret"):
    """Of what the ids of calls with a key are made."""

    value: bytes


class DesiredLine(msgspec.Struct, frozen=True, tag_field="record", tag="desired"):
    """What is desired, its history, and the files that they refer to."""

    entries: dict[str, bytes]


class ScheduleLine(msgspec.Struct, frozen=True, tag_field="record", tag="schedule"):
    """How far a schedule has come."""

    name: str
    value: bytes


class CallLine(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="record", tag="call"):
    """A submitted call, what has become of it, and the steps of a flow that are done."""

    id: str
    call: Submitted
    state: State | None = None
    steps: dict[str, Step] = {}


class LeftLine(msgspec.Struct, frozen=True, tag_field="record", tag="left"):
    """What could not be read, and so is not in the document."""

    name: str
    reason: str


Line = StoreLine | SecretLine | DesiredLine | ScheduleLine | CallLine | LeftLine


class Header(msgspec.Struct, frozen=True):
    """The first line of a document.

    Attributes:
        format: `jackfield-state`.
        version: of this form.
        jackfield: that has written it.
        written: when, in seconds since the epoch.
        counts: how many lines of each kind follow.
        digest: sha256 of all bytes after this line, in hexadecimal.
    """

    format: str
    version: int
    jackfield: str
    written: float
    counts: dict[str, int]
    digest: str


_encode: Final = msgspec.json.Encoder().encode
_line: Final[msgspec.json.Decoder[Line]] = msgspec.json.Decoder(Line)
_header: Final = msgspec.json.Decoder(Header).decode


def write_line(line: Line) -> str:
    """Write a line, without its end."""
    return _encode(line).decode()


def read_line(text: str | bytes) -> Line:
    """Read a line.

    Raises:
        ValueError: if it is none.
    """
    try:
        return _line.decode(text)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise ValueError(f"it is no line of a {FORMAT} document: {error}") from error


def check_line(line: Line) -> None:
    """Refuse a line that a later version has kept, or that is none to be brought in.

    Raises:
        ValueError: why, and what to do.
    """
    match line:
        case CallLine(id=identifier, call=call, state=state):
            if not is_id(identifier) or max(call.format, state.format if state is not None else 0) > CALLS:
                raise ValueError(f"call {identifier}: it was kept by a later jackfield: use that one, or a newer")
        case DesiredLine(entries=entries):
            newest = entries.get(f"{DESIRED}state")
            if newest is None or any(not key.startswith(_LASTING) for key in entries):
                raise ValueError("what it says is desired is not whole: export it again")
            from_plain(unpack(newest)["desired"])
        case LeftLine(name=name):
            raise ValueError(f"it has a line of what could not be exported: {name}")
        case _:
            return


# --- Out of a store ---------------------------------------------------------------------------------------------------


async def taken_out(store: Store, part: str, *, secrets: bool = False) -> AsyncIterator[Line]:
    """Read a part of a store, as it is at one moment.

    Args:
        store: where from.
        part: one of `PARTS`.
        secrets: give the secret, too.
    """
    if part == "store":
        lived = await store.get(LIFETIME)
        hosts = {key.split("/")[1] for key in (await store.range(HOSTS)).entries}
        yield StoreLine(tuple(sorted(hosts)), 0.0 if lived is None else msgspec.msgpack.decode(lived.value, type=float))
    elif part == "secret":
        secret = await store.get(SECRET) if secrets else None
        if secret is not None:
            yield SecretLine(secret.value)
    else:
        entries = {key: there.value for key, there in (await store.range(part)).entries.items()}
        if part == DESIRED:
            lasting = {key: value for key, value in entries.items() if key.startswith(_LASTING)}
            if lasting:
                yield DesiredLine(lasting)
        elif part == SCHEDULES:
            for key, value in entries.items():
                yield ScheduleLine(key.removeprefix(SCHEDULES), value)
        else:
            for line in _calls(entries):
                yield line


def _calls(entries: dict[str, bytes]) -> Iterator[Line]:
    parts: dict[str, dict[str, bytes]] = {}
    for key, value in entries.items():
        identifier, part = part_of(key)
        parts.setdefault(identifier, {})[part] = value
    for identifier, there in parts.items():
        if "call" not in there:  # a state that is left over
            continue
        try:
            call = read_call(there["call"], identifier)
            state = read_state(there["state"], identifier) if "state" in there else None
            steps = {key.removeprefix("steps/"): read_step(there[key]) for key in there if key.startswith("steps/")}
        except (JackfieldError, msgspec.DecodeError) as error:
            yield LeftLine(f"call {identifier}", str(error))
            continue
        mine = state if state is not None and state.nonce == call.nonce else None
        yield CallLine(identifier, call, mine, {name: step for name, step in steps.items() if step.nonce == call.nonce})


# --- The document -----------------------------------------------------------------------------------------------------


def write_document(lines: Iterable[Line], target: BinaryIO) -> tuple[Header, tuple[LeftLine, ...]]:
    """Write a document.

    Args:
        lines: what goes into it; it is read to its end before anything is written.
        target: where to.

    Returns:
        The header, and what is not in it because it could not be read.
    """
    counts: dict[str, int] = {}
    left: list[LeftLine] = []
    digest = hashlib.sha256()
    with SpooledTemporaryFile(_SPOOLED) as body:
        for line in lines:
            if isinstance(line, LeftLine):
                left.append(line)
                continue
            text = write_line(line).encode() + b"\n"
            kind = str(line.__struct_config__.tag)
            counts[kind] = counts.get(kind, 0) + 1
            digest.update(text)
            body.write(text)
        header = Header(FORMAT, VERSION, version("jackfield"), time.time(), counts, digest.hexdigest())
        target.write(_encode(header) + b"\n")
        body.seek(0)
        while block := body.read(_SPOOLED):
            target.write(block)
    return header, tuple(left)


def check_document(source: BinaryIO) -> Header:
    """Read a whole document, and make sure that it is one and all of it is there.

    Args:
        source: from its beginning; it can be read anew.

    Returns:
        The header.

    Raises:
        ValueError: why it cannot be taken over, where, and what to do.
    """
    first = source.readline()
    try:
        header = _header(first)
    except (msgspec.DecodeError, UnicodeError):
        fix = "name what `pluginctl state export` has written"
        raise ValueError(f"line 1: it is no {FORMAT} document: {fix}") from None
    if header.format != FORMAT or header.version > VERSION:
        what = f"it is a {header.format} document of version {header.version}, and this jackfield knows {VERSION}"
        raise ValueError(f"line 1: {what}: use jackfield {header.jackfield} or a newer one")
    digest, number = hashlib.sha256(), 1
    for text in source:
        number += 1
        digest.update(text)
        if not text.endswith(b"\n"):
            raise ValueError(f"line {number}: it ends in the middle: export it again, or copy it again")
    if number - 1 != sum(header.counts.values()) or digest.hexdigest() != header.digest:
        what = f"{number - 1:,} lines follow of {sum(header.counts.values()):,}"
        if number - 1 == sum(header.counts.values()):
            what = "its digest is another one: somebody has changed it"
        raise ValueError(f"line {number}: it is not whole, or not as it was written: {what}: export it again")
    source.seek(0)
    source.readline()
    for number, text in enumerate(source, 2):
        try:
            check_line(read_line(text))
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None
    return header


def lines_of(source: BinaryIO) -> Iterator[str]:
    """Give the lines of a document that was checked, without its header."""
    source.seek(0)
    source.readline()
    for text in source:
        yield text.decode().rstrip("\n")
