"""What strangers' exceptions say may be a secret: it reaches who gets them raised, and the log where that is asked for.

Faults, records, status, events, dumps and the log without `Logs(messages=True)` have the type and the place.
"""

import enum
import io
import json
import traceback
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union

import attrs
import msgspec
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loguru import logger
from prometheus_client import CollectorRegistry, generate_latest
from pydantic_core import PydanticCustomError

from jackfield import (
    FunctionCrashed,
    Host,
    Logger,
    Logs,
    Metrics,
    PayloadError,
    PluginError,
    PluginState,
    Rejected,
    Unavailable,
    hookimpl,
    inject,
    provides,
)
from jackfield.errors import Fault
from jackfield.operations import state
from jackfield.stack import blamed
from jackfield.text import printable, printable_json

SECRET = "postgres-swordfish-4111"  # noqa: S105  # what must not be shown

ERRORS = {
    "an ordinary one": f'ValueError("{SECRET}")',
    "of the system": f'ConnectionRefusedError(111, "{SECRET}", "{SECRET}")',
    "one of jackfield's": f'__import__("jackfield").Unavailable("db", "{SECRET}")',
    "a plugin's fault": f'__import__("jackfield").PluginError("db", "start", "{SECRET}", "{SECRET}")',
    "a refusal": f'__import__("jackfield").Rejected("{SECRET}", code="{SECRET}")',
    "one that names a module": f'ModuleNotFoundError("{SECRET}", name="db")',
    "a group": f'ExceptionGroup("{SECRET}", [ValueError("{SECRET}")])',
    "one that wants to exit when it is looked at": (
        'type("E", (Exception,), dict.fromkeys(("__class__", "__traceback__", "__cause__"),'
        f' property(lambda _: exit("{SECRET}"))))("{SECRET}")'
    ),
    "with a note": f'type("E", (Exception,), {{"__notes__": ["{SECRET}"]}})("{SECRET}")',
}


@pytest.fixture
def logged():
    """All that loguru gets: texts, fields and exceptions."""
    lines = []
    sink = logger.add(lines.append, level="DEBUG", serialize=True, backtrace=True, diagnose=True)
    yield lines
    logger.remove(sink)


def visible(host):
    """Everything that anybody but the caller can see of a host."""
    seen = [host.faults, dict(host.plugins), state.status(host, dict), state.dump(host, dict)]
    return repr(seen) + json.dumps(msgspec.to_builtins(seen[2:], enc_hook=repr), default=repr)


def configured(tmp_path, source, **options):
    (tmp_path / "sick.py").write_text(source, encoding="utf-8")
    config = tmp_path / "jackfield.toml"
    config.write_text('[[plugin]]\nname = "sick"\npath = "./sick.py:Sick"\n', encoding="utf-8")
    return Host.from_config(config, **options)


PLACES = {
    "importing": ("raise {error}\nclass Sick: ...\n", "start"),
    "making": ("class Sick:\n    def __init__(self):\n        raise {error}\n", "start"),
    "start": ("class Sick:\n    def start(self):\n        raise {error}\n", "start"),
    "an async start": ("class Sick:\n    async def start(self):\n        raise {error}\n", "start"),
    "stop": ("class Sick:\n    def stop(self):\n        raise {error}\n", "stop"),
    "health": ("class Sick:\n    def health(self):\n        raise {error}\n", "health"),
    "snapshot": ("class Sick:\n    def snapshot(self):\n        raise {error}\n", "stop"),
    "restore": (
        "class Sick:\n    def snapshot(self): return 1\n    def restore(self, state):\n        raise {error}\n",
        "restart",
    ),
}


@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS)
@pytest.mark.parametrize(("source", "act"), PLACES.values(), ids=PLACES)
def test_no_fault_status_event_dump_or_log_has_what_a_plugin_raises(tmp_path, logged, source, act, error):
    """But its type and its place; the exception itself is the cause, for whoever debugs."""
    host = configured(tmp_path, source.format(error=error), observers=())
    errors = []
    with host:
        for verb in {"start": (), "stop": (host.stop_plugin,), "restart": (host.restart_plugin,), "health": ()}[act]:
            try:
                verb("sick")
            except (PluginError, Unavailable) as caught:
                errors.append(caught)
        health = repr(host.health())
        shown = visible(host)
    for text in (shown, health, visible(host), "".join(map(str, logged)), *map(str, errors)):
        assert SECRET not in text
    assert "sick.py" in shown + health + "".join(map(str, errors)) + "".join(map(str, logged))


def test_the_log_has_it_where_that_is_asked_for(tmp_path, logged):
    """The operator's own, by `Logs(messages=True)`; status and dumps have it not even then."""
    source = PLACES["start"][0].format(error=ERRORS["an ordinary one"])
    with configured(tmp_path, source, observers=[Logs(io.StringIO(), messages=True)]) as host:
        assert host.plugins["sick"].state is PluginState.FAILED
        assert SECRET not in visible(host)
    assert SECRET in "".join(map(str, logged))
    logged.clear()
    with configured(tmp_path, source, observers=()):
        pass
    assert SECRET not in "".join(map(str, logged))


class Store: ...


def test_providers_hooks_handlers_and_background_work_leak_nothing(logged):
    """Whatever of theirs raises, and whenever."""

    @provides(scope="request")
    def request() -> Iterator[Store]:
        yield Store()
        raise ValueError(SECRET)

    @provides
    def singleton() -> Iterator[dict[str, int]]:
        yield {}
        raise ValueError(SECRET)

    class Hooks:
        @hookimpl
        def jackfield_registered(self, function):
            raise ValueError(SECRET)

        @hookimpl
        def jackfield_register(self, function):
            if function.name == "refused":
                raise ValueError(SECRET)

    @attrs.frozen
    class Tick:
        number: int

    def handler(event: Tick) -> None:
        raise ValueError(SECRET)

    def f(*, store: Store = inject(), table: dict[str, int] = inject()) -> None: ...

    with Host(observers=()) as host:
        host.provide(request)
        host.provide(singleton)
        host.add_hooks(Hooks(), plugin="hooks")
        host.register("f", f)
        host.events.subscribe(Tick, handler)
        host.events.publish(Tick(1))
        host.events.drain(10)
        with pytest.raises(FunctionCrashed, match=SECRET):  # its caller gets it
            host.call("f")
        with pytest.raises(PluginError) as refused:
            host.register("refused", len)
        assert SECRET not in str(refused.value)
        shown = visible(host)
    assert SECRET not in shown
    assert SECRET not in "".join(map(str, logged))
    assert "ValueError at " in "".join(map(str, logged))


def test_a_call_record_has_it_only_where_that_is_asked_for():
    """As ever."""

    def f():
        raise ValueError(SECRET)

    for messages in (False, True):
        out = io.StringIO()
        with Host(observers=[Logs(out, messages=messages)]) as host:
            host.register("f", f)
            with pytest.raises(FunctionCrashed):
                host.call("f")
        assert (SECRET in out.getvalue()) is messages


# ---- payloads ----


def refuse(value):
    shown = value.upper() if isinstance(value, str) else value
    raise ValueError(f"{shown!r} / {str(value)[:8]} / {str(value)[::-1]} is bad")


@attrs.frozen
class ByAttrs:
    card: str = attrs.field(validator=lambda _self, _field, value: refuse(value))


@attrs.frozen
class Converted:
    card: str = attrs.field(converter=refuse)


@dataclass
class ByDataclass:
    card: str

    def __post_init__(self):
        refuse(self.card)


class ByStruct(msgspec.Struct):
    card: str

    def __post_init__(self):
        refuse(self.card)


class Mimic(msgspec.Struct):
    card: str

    def __post_init__(self):
        raise msgspec.ValidationError(f"Expected `{self.card}`, got `{self.card}` - at `$.{self.card}`")


class Nested(msgspec.Struct):
    inner: list[ByStruct]
    card: str = ""


class Colour(enum.Enum):
    RED = "red"

    @classmethod
    def _missing_(cls, value):
        refuse(value)


PAYLOADS = [
    (ByAttrs, {"card": SECRET}),
    (Converted, {"card": SECRET}),
    (ByDataclass, {"card": SECRET}),
    (ByStruct, {"card": SECRET}),
    (Mimic, {"card": SECRET}),
    (Nested, {"inner": [{"card": SECRET}]}),
    (Colour, SECRET),
    (Literal["a", "b"], SECRET),
    (int, SECRET),
    (dict[str, int], {SECRET: SECRET}),
    (Annotated[str, msgspec.Meta(max_length=3, pattern="^a")], SECRET),
    (Union[int, None], SECRET),  # noqa: UP007
]


def pydantic_payloads():
    class Field(pydantic.BaseModel):
        card: str

        @pydantic.field_validator("card")
        @classmethod
        def check(cls, value):
            refuse(value)

    class Whole(pydantic.BaseModel):
        card: str

        @pydantic.model_validator(mode="after")
        def check(self):
            refuse(self.card)

    class Custom(pydantic.BaseModel):
        card: str

        @pydantic.field_validator("card")
        @classmethod
        def check(cls, value):
            raise PydanticCustomError("int_type", "no {card}", {"card": value})

    class Asserted(pydantic.BaseModel):
        card: str

        @pydantic.field_validator("card")
        @classmethod
        def check(cls, value):
            assert value == "", value
            return value

    class A(pydantic.BaseModel):
        kind: Literal["a"]

    class B(pydantic.BaseModel):
        kind: Literal["b"]

    class Tagged(pydantic.BaseModel):
        one: A | B = pydantic.Field(discriminator="kind")

    class Parsed(pydantic.BaseModel):
        id: uuid.UUID

    class Bounded(pydantic.BaseModel):
        card: str = pydantic.Field(max_length=3)

    return [
        (Field, {"card": SECRET}),
        (Whole, {"card": SECRET}),
        (Custom, {"card": SECRET}),
        (Asserted, {"card": SECRET}),
        (Tagged, {"one": {"kind": SECRET}}),
        (Parsed, {"id": SECRET}),
        (Bounded, {"card": SECRET}),
    ]


def taking(kind):
    def f(given: Any) -> None: ...

    f.__annotations__["given"] = kind
    return f


def test_a_payload_error_shows_no_value_whoever_wrote_the_validator():
    """The path and the rule are there, and the validator's own exception is the cause."""
    with Host(observers=()) as host:
        for number, (kind, payload) in enumerate([*PAYLOADS, *pydantic_payloads()]):
            host.register(f"f{number}", taking(kind))
            with pytest.raises(PayloadError) as caught:
                host.call(f"f{number}", payload)
            text = str(caught.value).lower()
            assert not any(part in text for part in ("swordfish", "4111", SECRET[::-1], "postgres")), (kind, text)
            assert "payload at $" in text


def test_a_field_is_named_with_the_rule_that_it_breaks():
    """An error without the value is still one that helps."""
    with Host(observers=()) as host:
        host.register("f", taking(ByStruct))
        with pytest.raises(PayloadError) as caught:
            host.call("f", {"card": SECRET})
        assert caught.value.got == "one that refuse() refuses with ValueError"
        assert "is bad" in "".join(traceback.format_exception(caught.value))  # for its author, as the cause


# ---- lines that nobody forged ----

FORGED = "x\n2026-01-01 ERROR forged\r\x1b[2J\x9b2J\u202e\u2028\x85"
BAD = [sign for sign in FORGED if not sign.isprintable()]


def clean(text, lines=1):
    assert not any(sign in text.rstrip("\n") for sign in BAD if sign != "\n" or lines == 1), ascii(text)


def test_no_error_or_fault_has_a_line_of_its_own_for_a_stranger():
    """Names, versions and messages are one printable line each, wherever they are put together."""
    fault = Fault("start", FORGED, FORGED, FORGED, FORGED)
    for text in (
        str(fault),
        *attrs.astuple(fault),
        str(FunctionCrashed("f", FORGED, FORGED, FORGED, FORGED)),
        str(Rejected(FORGED, FORGED)),
        str(Unavailable(FORGED, FORGED)),
        str(PluginError(FORGED, "start", FORGED, FORGED)),
        str(PayloadError("f", FORGED, FORGED, FORGED)),
        blamed(type(FORGED, (Exception,), {"__module__": FORGED})(FORGED)),
    ):
        clean(text)


def test_no_log_record_forges_a_line(logged):
    """Call records in both forms, and what plugins say through their `Logger`."""

    def f():
        raise type(FORGED, (Exception,), {"__module__": FORGED})(FORGED)

    out = io.StringIO()
    with Host(observers=[Logs(out, messages=True), Logs(messages=True)]) as host:
        host.register("f", f)
        host.register("say", saying)
        with pytest.raises(FunctionCrashed):
            host.call("f", tenant=FORGED)
        host.call("say")
    clean(out.getvalue(), lines=2)
    assert len(out.getvalue().splitlines()) == 2
    texts = [json.loads(line)["record"]["message"] for line in logged]
    assert len(texts) >= 2
    for text in texts:
        clean(text)


def saying(*, log: Logger = inject()) -> None:
    log.info(FORGED)
    log.error(FORGED, given=FORGED)


def test_no_metric_forges_a_line():
    """Label values are escaped by the exposition, and a tenant's name is one."""
    registry = CollectorRegistry()
    with Host(observers=[Metrics(registry)]) as host:
        host.register("f", lambda: 1)
        host.call("f", tenant=FORGED)
        text = generate_latest(registry).decode()
    assert not any(line.startswith("2026-01-01") for line in text.splitlines())


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=())))
def test_what_is_cleaned_is_one_printable_line_and_json_stays_what_it_was(text):
    """`str.isprintable` is the rule; what is printable already is left as it is."""
    assert printable(text).isprintable()
    assert printable(printable(text)) == printable(text)
    assert printable(text) == text or not text.isprintable()
    if not any("\ud800" <= sign <= "\udfff" for sign in text):
        encoded = msgspec.json.encode(text).decode()
        assert json.loads(printable_json(encoded)) == text
        assert printable_json(encoded).replace("\x7f", "").isprintable()
