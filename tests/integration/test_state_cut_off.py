"""An import that is cut off at any write is done again, and no host ever sees half of a call."""

import asyncio
import io
from collections.abc import AsyncGenerator

import msgspec
import pytest
from typer.testing import CliRunner

from jackfield import Unavailable
from jackfield.cli import app, state
from jackfield.desired.importing import brought_in
from jackfield.desired.portable import (
    PARTS,
    CallLine,
    ScheduleLine,
    SecretLine,
    StoreLine,
    check_document,
    taken_out,
    write_document,
    write_line,
)
from jackfield.durable.records import State, Submitted, packed
from jackfield.durable.steps import Step
from jackfield.model.submission import SubmissionState
from jackfield.ports import Lease, Range, Store, Stored, StoreEvent
from jackfield.store import MemoryStore, SQLiteStore, urls


class CutOff:
    """A store that is away after so many writes."""

    def __init__(self, store: Store, writes: int) -> None:
        self._store, self.left = store, writes

    async def get(self, key: str, /) -> Stored | None:
        return await self._store.get(key)

    async def range(self, prefix: str = "", /) -> Range:
        return await self._store.range(prefix)

    async def put(self, key: str, value: bytes, /, *, expected: int | None = None, lease: Lease | None = None) -> int:
        self._write()
        return await self._store.put(key, value, expected=expected, lease=lease)

    async def delete(self, key: str, /, *, expected: int | None = None) -> int:
        self._write()
        return await self._store.delete(key, expected=expected)

    def watch(self, prefix: str = "", /, *, since: int) -> AsyncGenerator[StoreEvent, None]:
        return self._store.watch(prefix, since=since)

    async def lease(self, ttl: float, /) -> Lease:
        return await self._store.lease(ttl)

    async def close(self) -> None:
        await self._store.close()

    def _write(self) -> None:
        if not self.left:
            raise Unavailable("store", "cut off", "store")
        self.left -= 1


def call(number: int, status: SubmissionState, result: str = "") -> CallLine:
    nonce, (payload, digest) = b"%d" % number, packed("f", {"a": number})
    key = "k" if number == 1 else None
    made = Submitted("f", "1", payload, digest, nonce, 100.0 + number, 7.0, key=key, trace={"traceparent": "00-1"})
    state = State(nonce, status, 200.0, attempt=1, result=packed("f", result)[0], redriven=(1.5, 2.5))
    steps = {"auth": Step("done", nonce, result=b"\xa1x"), "log[0]": Step("begun", nonce, 0.1)}
    return CallLine(f"{number:032x}", made, state, steps)


@pytest.mark.parametrize("writes", [0, 4, 7])
def test_who_imports_is_told_how_far_it_came(tmp_path, monkeypatch, writes):
    """And that it may be done again."""
    with (tmp_path / "doc.jsonl").open("wb") as file:
        write_document(LINES, file)
    path = tmp_path / "new.db"
    monkeypatch.setattr(urls, "store_of", lambda url: lambda: CutOff(SQLiteStore(path), writes))
    monkeypatch.setattr(state, "_BATCH", 1)
    told = CliRunner().invoke(app, ["state", "import", str(tmp_path / "doc.jsonl"), "--store", "far:away"])
    assert told.exit_code == 1
    assert f"{ ({0: 0, 4: 3, 7: 4}[writes]) } of 5 lines, and perhaps more, were brought in" in told.output
    assert "cut off" in told.output
    monkeypatch.setattr(urls, "store_of", lambda url: lambda: CutOff(SQLiteStore(path), 1_000))
    again = CliRunner().invoke(app, ["state", "import", str(tmp_path / "doc.jsonl"), "--store", "far:away"])
    assert again.exit_code == 0, again.output


def test_a_call_of_a_later_version_is_refused_before_anything_is_written():
    """Its line is named."""
    later = msgspec.structs.replace(LINES[3], call=msgspec.structs.replace(LINES[3].call, format=9))
    file = io.BytesIO()
    write_document([*LINES[:3], later], file)
    file.seek(0)
    with pytest.raises(ValueError, match=r"line 5: call 0+1: it was kept by a later jackfield"):
        check_document(file)


LINES = [
    StoreLine(("blue",), 12.5),
    SecretLine(b"s" * 32),
    ScheduleLine("nightly", b'{"cron":"0 1 * * *"}'),
    call(1, SubmissionState.SUCCEEDED, "A"),
    call(2, SubmissionState.FAILED),
]
TEXTS = [write_line(line) for line in LINES]


async def content(store: Store) -> dict[str, bytes]:
    return {key: there.value for key, there in (await store.range()).entries.items()}


@pytest.mark.parametrize("other", [False, True], ids=["into an empty store", "over other calls of the same keys"])
def test_an_import_that_was_cut_off_ends_the_same(other):
    """After every number of writes, and no call is there without what has become of it."""

    async def prepared() -> MemoryStore:
        store = MemoryStore()
        if other:
            second = msgspec.structs.replace(call(3, SubmissionState.DEAD), id=f"{2:032x}")
            await brought_in(store, [write_line(SecretLine(b"s" * 32)), write_line(second)], (), replace=False)
        return store

    async def whole() -> dict[str, bytes]:
        store = await prepared()
        await brought_in(store, TEXTS, ("blue",), replace=True)
        return await content(store)

    async def cut_off(writes: int) -> bool:
        store = await prepared()
        limited = CutOff(store, writes)
        try:
            await brought_in(limited, TEXTS, ("blue",), replace=True)
        except Unavailable:
            for key in await content(store):
                if key.endswith("/call"):
                    assert await store.get(f"{key.removesuffix('call')}state") is not None
            await brought_in(store, TEXTS, ("blue",), replace=True)
        assert await content(store) == expected
        return bool(limited.left)

    expected = asyncio.run(whole())
    writes = 0
    while not asyncio.run(cut_off(writes)):
        writes += 1
    assert writes > len(LINES)


def test_what_was_brought_in_is_taken_out_as_it_was():
    """Every field of a line, through a store."""

    async def through() -> list[str]:
        store = MemoryStore()
        done = await brought_in(store, TEXTS, (), replace=False)
        moved = {each.name: each.id for each in done if each.id}
        lines = [line for part in PARTS async for line in taken_out(store, part, secrets=True)]
        back = {there: here for here, there in moved.items()}
        named = [
            msgspec.structs.replace(line, id=back.get(line.id, line.id)) if isinstance(line, CallLine) else line
            for line in lines
        ]
        return sorted(
            write_line(msgspec.structs.replace(line, hosts=("blue",)) if isinstance(line, StoreLine) else line)
            for line in named
        )

    assert asyncio.run(through()) == sorted(TEXTS)
