"""A flow is a function: its steps run as soon as they may, share one call, and hand plain data on."""

import asyncio
import datetime as dt
import threading

import attrs
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from jackfield import (
    Cancelled,
    ContractError,
    DeadlineExceeded,
    DuplicateFunction,
    Flow,
    FunctionCrashed,
    Host,
    Rejected,
    StepFailed,
    Unavailable,
    current_call,
    function,
    remaining,
)
from jackfield.flow import flow_of
from jackfield.model.flow import Step
from jackfield.observe.spans import Spans

PATIENCE = 20.0  # seconds that only a deadlock uses up


@attrs.frozen
class User:
    """Who a token stands for."""

    id: int
    name: str
    since: dt.date = dt.date(2026, 11, 26)


def check(token: str) -> User:
    return User(len(token), f"the bearer of {token}")


async def warm(user: User) -> int:
    return user.id


def notify(text: str, to: int) -> str:
    return f"{to}: {text}"


def double(number: int) -> int:
    return 2 * number


FUNCTIONS = {"auth.check": check, "cache.warm": warm, "mail.notify": notify, "double": double}


@pytest.fixture
def host():
    """A host with a few functions, started."""
    with Host(observers=()) as made:
        for name, target in FUNCTIONS.items():
            made.register(name, target)
        yield made


CHECKOUT = (
    Flow("checkout", timeout=PATIENCE)
    .step("auth", "auth.check", token="$input.token")  # noqa: S106  # none
    .step("cache", "cache.warm", user="$auth")
    .step("notify", "mail.notify", text="$auth.name", to="$cache")
)


# --- What it gives --------------------------------------------------------------------------------------------------


def test_a_flow_is_called_like_any_function(host):
    """Sync and async, through a typed handle, and from another function."""
    host.add_flow(CHECKOUT)
    host.register("outer", lambda: host.call("checkout", {"token": "abc"}))
    told = "3: the bearer of abc"
    assert host.call("checkout", {"token": "abc"}) == told
    assert asyncio.run(host.acall("checkout", {"token": "abc"})) == told
    assert host.function("checkout", dict, str)({"token": "abc"}) == told
    assert host.call("outer") == told


def test_a_function_of_one_parameter_takes_its_record_s_fields_or_the_whole(host):
    """As `pluginctl call` has it."""
    by_field = Flow("by_field").step("a", "cache.warm", id=7, name="Ada")
    by_name = Flow("by_name").step("a", "cache.warm", user={"id": 7, "name": "$input"})
    as_whole = Flow("as_whole").step("a", "cache.warm", with_={"id": 7, "name": "Ada"})
    for flow in (by_field, by_name, as_whole):
        host.add_flow(flow)
        assert host.call(flow.name, "Ada") == 7


@pytest.mark.parametrize(
    ("written", "made"),
    [
        ("$input", {"n": [1, {"x": 5}], "$": 0}),
        ("$input.n.1.x", 5),
        ("$input.$", 0),
        ("$$input", "$input"),
        ("$$", "$"),
        ("a$b", "a$b"),
        ({"x": ["$input.n.0", "$$1"], "y": None}, {"x": [1, "$1"], "y": None}),
        (dt.date(2026, 11, 26), dt.date(2026, 11, 26)),
        (7, 7),
    ],
)
def test_what_stands_for_what(host, written, made):
    """References are replaced wherever they stand; two dollars are one."""
    host.register("same", lambda value: value)
    host.add_flow(Flow("f").step("a", "same", value=written))
    assert host.call("f", {"n": [1, {"x": 5}], "$": 0}) == made


@pytest.mark.parametrize(
    ("output", "made"),
    [
        (None, {"b": 4, "c": 4}),
        ("$b", 4),
        ({"all": ["$a", "$b"], "in": "$input"}, {"all": [2, 4], "in": 1}),
        ("done", "done"),
    ],
)
def test_the_result_is_the_last_step_s_or_what_the_output_says(host, output, made):
    """Of several last ones a table."""
    flow = Flow("f", output=output).step("a", "double", number="$input")
    host.add_flow(flow.step("b", "double", number="$a").step("c", "double", number="$a"))
    assert host.call("f", 1) == made


def test_what_passes_between_steps_is_a_copy_of_plain_data(host):
    """Nobody sees what another does to it, the caller included; dates stay dates."""
    kept = []

    def make() -> dict:
        kept.append({"items": [1], "on": dt.date(2026, 11, 26), "of": User(1, "Ada")})
        return kept[0]

    def spoil(table: dict) -> list:
        kept.append(table)
        table["items"].append(2)
        return table["items"]

    host.register("make", make)
    host.register("spoil", spoil)
    flow = Flow("f", output="$make").step("make", "make")
    host.add_flow(flow.step("one", "spoil", table="$make").step("two", "spoil", table="$make", after=["one"]))
    result = host.call("f")
    assert result["items"] == [1]
    assert result["on"] == dt.date(2026, 11, 26)
    assert result["of"] == {"id": 1, "name": "Ada", "since": dt.date(2026, 11, 26)}
    assert len({id(each) for each in (*kept, result)}) == 4
    assert [each["items"] for each in kept] == [[1], [1, 2], [1, 2]]


def test_a_result_that_nobody_wants_need_not_be_plain(host):
    """One that somebody refers to does."""
    host.register("odd", lambda: threading.Lock())  # noqa: PLW0108  # one without a type
    host.add_flow(Flow("fine", output="ok").step("a", "odd"))
    host.add_flow(Flow("wrong").step("a", "odd"))
    assert host.call("fine") == "ok"
    with pytest.raises(FunctionCrashed, match=r"step 'a' \(odd\) of the flow wrong: its result has no plain form"):
        host.call("wrong")


# --- Order ----------------------------------------------------------------------------------------------------------


def test_independent_steps_run_at_once(host):
    """Sync and async ones: each waits for all the others."""
    met = threading.Barrier(3)
    loop_met = asyncio.Event()

    def sync() -> None:
        met.wait(PATIENCE)

    async def first() -> None:
        await asyncio.wait_for(loop_met.wait(), PATIENCE)

    async def second() -> None:
        loop_met.set()
        await asyncio.to_thread(met.wait, PATIENCE)

    for target in (sync, first, second):
        host.register(target.__name__, target)
    flow = Flow("f").step("a", "sync").step("b", "sync").step("c", "first").step("d", "second")
    host.add_flow(flow)
    assert host.call("f") == dict.fromkeys("abcd")


@pytest.mark.slow
def test_thousands_of_steps_may_be_ready_at_once(host):
    """They take turns: a host has only so many threads, and lets only so many calls wait for one."""
    flow = Flow("f", steps=tuple(Step(f"s{number}", "double", number) for number in range(2_000)))
    host.add_flow(flow)
    assert host.call("f") == {f"s{number}": 2 * number for number in range(2_000)}
    host.register("fails", lambda: 1 / 0)
    host.add_flow(Flow("g", steps=(*flow.steps, Step("bad", "fails"))))
    host.add_flow(Flow("h", steps=(Step("bad", "fails"), *flow.steps)))
    for name in ("g", "h"):
        with pytest.raises(FunctionCrashed, match="step 'bad'"):
            host.call(name)


def test_each_is_done_for_every_item_and_no_more_at_once_than_it_says(host):
    """The results are in the order of the items."""
    inside, most = [], []

    async def work(number: int) -> int:
        inside.append(number)
        most.append(len(inside))
        for _ in range(1 + number % 3):
            await asyncio.sleep(0)
        inside.remove(number)
        return 2 * number

    host.register("work", work)
    host.add_flow(Flow("f").step("a", "work", number="$item.n", each="$input", parallel=3))
    assert host.call("f", [{"n": number} for number in range(20)]) == [2 * number for number in range(20)]
    assert max(most) == 3
    assert host.call("f", []) == []


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"items": 3}, "each = '$input.items' is to be a list, and is int"),
        ({"items": None}, "each = '$input.items' is to be a list, and is None"),
        ({"itmes": []}, "there is no 'items' in $input; did you mean 'itmes'?"),
        ({"items": [1, "x"]}, "at item 1: double: payload at"),
    ],
)
def test_each_over_what_is_no_list_says_so(host, given, said):
    """And which item it was."""
    host.add_flow(Flow("f").step("a", "double", number="$item", each="$input.items"))
    with pytest.raises(FunctionCrashed) as caught:
        host.call("f", given)
    assert said in str(caught.value)
    assert "step 'a' (double) of the flow f" in str(caught.value)


# --- One call -------------------------------------------------------------------------------------------------------


def test_the_steps_are_calls_of_the_flow_s_call(host):
    """Its tenant, headers, deadline, root and draw."""
    seen = {}

    def look(name: str) -> None:
        call = current_call()
        seen[name] = (call.tenant, call.headers["x-id"], call.parent.name, call.draw, call.root.id)
        assert remaining() <= PATIENCE

    host.register("look", look)
    host.add_flow(Flow("f").step("a", "look", name="a").step("b", "look", name="b"))
    host.call("f", tenant="t", headers={"X-Id": "7"}, timeout=PATIENCE)
    assert seen["a"] == seen["b"]
    assert seen["a"][:3] == ("t", "7", "f")


def test_a_span_for_each_step_names_it():
    """In one trace, below the flow's; what a step's function calls is not the step."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with Host(observers=(Spans(provider),)) as host:
        host.register("inner", lambda: 1)
        host.register("outer", lambda: host.call("inner"))
        host.add_flow(Flow("f").step("first", "outer").step("second", "inner", after=["first"]).step("third", "outer"))
        host.call("f")
    spans = exporter.get_finished_spans()
    flow = next(span for span in spans if span.name == "f")
    steps = {span.attributes["jackfield.step"]: span for span in spans if "jackfield.step" in span.attributes}
    assert {name: span.name for name, span in steps.items()} == {"first": "outer", "second": "inner", "third": "outer"}
    assert {span.parent.span_id for span in steps.values()} == {flow.context.span_id}
    assert len({span.context.trace_id for span in spans}) == 1


def test_versions_of_a_flow_are_routed_like_any_function_s(host):
    """The first is the default; a canary moves it."""
    host.add_flow(Flow("f", version="1.0").step("a", "double", number=1))
    host.add_flow(Flow("f", version="2.0").step("a", "double", number=2))
    assert host.call("f") == 2
    assert host.call("f", version="2.0") == 4
    host.canary("f", version="2.0", share=1.0).promote()
    assert host.call("f") == 4


def test_a_name_and_version_is_taken_once(host):
    """By a function or a flow."""
    with pytest.raises(DuplicateFunction):
        host.add_flow(Flow("double").step("a", "auth.check", token="x"))  # noqa: S106  # none


def test_removing_a_flow(host):
    """By its registration."""
    host.add_flow(CHECKOUT).remove()
    assert "checkout" not in host.snapshot.functions


# --- What goes wrong ------------------------------------------------------------------------------------------------


def broken(host, *, rest=None):
    """Register a function that raises, and one that waits to be cancelled; give what says that it was."""
    begun, cancelled, never = asyncio.Event(), threading.Event(), []

    async def fails() -> None:
        await asyncio.wait_for(begun.wait(), PATIENCE)
        raise ValueError("no")

    async def waits() -> None:
        begun.set()
        try:
            await asyncio.sleep(3600)
        finally:
            if rest is not None:
                await rest()
            cancelled.set()

    host.register("fails", fails)
    host.register("waits", waits)
    host.register("later", lambda: never.append(1))
    return cancelled, never


def test_a_step_that_fails_cancels_the_rest_which_is_waited_for(host):
    """The error names the flow, the step and the function."""
    cancelled, never = broken(host, rest=lambda: asyncio.sleep(0.01))
    flow = Flow("f").step("bad", "fails").step("long", "waits").step("next", "later", after=["bad"])
    host.add_flow(flow.step("last", "later", after=["long"]))
    with pytest.raises(FunctionCrashed) as caught:
        host.call("f")
    assert cancelled.is_set()
    assert not never
    failed = caught.value.__cause__
    assert isinstance(failed, StepFailed)
    assert (failed.flow, failed.step, failed.function) == ("f", "bad", "fails")
    assert isinstance(failed.__cause__, FunctionCrashed)
    assert str(caught.value).endswith("step 'bad' (fails) of the flow f: fails@0 crashed: ValueError: no")


def test_a_step_may_fail_and_the_rest_go_on(host):
    """What needs it does not run; in the output there is None for it."""
    _, never = broken(host)
    flow = Flow("f").step("bad", "fails", on_error="continue").step("next", "later", after=["bad"])
    flow = flow.step("far", "later", after=["next", "good"]).step("long", "warmer").step("good", "double", number=2)
    host.register("warmer", lambda: None)
    host.unregister("fails")
    host.register("fails", lambda: 1 / 0)
    host.add_flow(flow)
    assert host.call("f") == {"far": None, "long": None}
    assert not never
    host.add_flow(Flow("g", output={"bad": "$bad.id", "good": "$good"}, steps=flow.steps))
    assert host.call("g") == {"bad": None, "good": 4}


def test_of_each_that_goes_on_only_the_items_that_fail_are_none(host):
    """And what needs the step runs."""
    host.register("inverse", lambda number: 1 / number)
    flow = Flow("f").step("a", "inverse", number="$item", each="$input", on_error="continue")
    host.register("same", lambda value: value)
    host.add_flow(flow.step("b", "same", value="$a"))
    assert host.call("f", [1, 0, 2]) == [1.0, None, 0.5]


def test_a_refusal_of_a_step_is_the_flow_s(host):
    """With a note of where it was."""

    def refuse() -> None:
        raise Rejected("no stock", code="no_stock")

    host.register("refuse", refuse)
    host.add_flow(Flow("f").step("a", "refuse"))
    with pytest.raises(Rejected) as caught:
        host.call("f")
    assert caught.value.code == "no_stock"
    assert caught.value.__notes__ == ["in step 'a' (refuse) of the flow f"]


def test_the_deadline_is_the_whole_flow_s(host):
    """Whoever is at work when it passes is cancelled."""
    cancelled, never = broken(host)
    host.add_flow(Flow("f", timeout=0.05).step("long", "waits").step("next", "later", after=["long"]))
    with pytest.raises(DeadlineExceeded) as caught:
        host.call("f")
    assert cancelled.wait(PATIENCE)
    assert caught.value.function == "f"
    assert "'long'" in str(caught.value)
    assert not never


def test_a_cancel_from_outside_cancels_all_steps_and_waits_for_them(host):
    """A chain, several at once, and a step with `each`."""

    async def scenario(flow):
        ended = []

        async def rest():
            await asyncio.sleep(0.01)
            ended.append(1)

        host.add_flow(flow)
        host.unregister("waits")
        began = asyncio.Event()

        async def waits() -> None:
            loop.call_soon_threadsafe(began.set)
            try:
                await asyncio.sleep(3600)
            finally:
                await rest()

        loop = asyncio.get_running_loop()
        host.register("waits", waits)
        task = asyncio.create_task(host.acall(flow.name, [1, 2, 3]))
        await asyncio.wait_for(began.wait(), PATIENCE)
        for _ in range(5):
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        for _ in range(200):
            if len(ended) == len(flow.steps) * (3 if flow.steps[0].each else 1):
                break
            await asyncio.sleep(0.05)
        return len(ended)

    host.register("waits", lambda: None)
    assert asyncio.run(scenario(Flow("chain").step("a", "waits"))) == 1
    assert asyncio.run(scenario(Flow("fork").step("a", "waits").step("b", "waits"))) == 2
    assert asyncio.run(scenario(Flow("each").step("a", "waits", each="$input"))) == 3


def test_a_function_that_cancels_itself_is_a_failure_and_not_forgotten(host):
    """A task group would pass over it."""

    async def gone() -> None:
        raise asyncio.CancelledError

    host.register("gone", gone)
    host.add_flow(Flow("f").step("a", "gone").step("b", "double", number=1))
    host.add_flow(Flow("g").step("a", "gone", each="$input"))
    with pytest.raises(Cancelled):
        host.call("f")
    with pytest.raises(Cancelled):
        host.call("g", [1, 2])


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("$a.nmae", r"flow f: its output: \$a.nmae: there is no 'nmae' in \$a; did you mean 'name'\?"),
        ("$a.name.x", r"there is no 'x' in \$a.name, which is str"),
        ("$a.tags.7", r"there is no '7' in \$a.tags: the list has 1 items"),
        ("$a.tags.x", r"there is no 'x' in \$a.tags: it is no place in a list"),
        ("$a.none.x", r"there is no 'x' in \$a.none, which is None"),
    ],
)
def test_a_reference_to_what_is_not_there_says_what_is(host, output, said):
    """Never a value: it may be a secret."""
    host.register("loose", lambda: {"name": "Ada", "tags": ["a"], "none": None})
    host.add_flow(Flow("f", output=output).step("a", "loose"))
    with pytest.raises(FunctionCrashed, match=said):
        host.call("f")


def test_a_payload_without_a_plain_form_is_refused(host):
    """Before anything runs."""
    host.add_flow(CHECKOUT)
    with pytest.raises(FunctionCrashed, match="what it is called with has no plain form"):
        host.call("checkout", {"token": threading.Lock()})


# --- Checked before -------------------------------------------------------------------------------------------------


def test_what_a_flow_calls_need_not_be_there_before_the_start():
    """When the host has started, what is missing is a fault, with close names."""
    host = Host(observers=())
    host.add_flow(Flow("f").step("a", "doubel", number=1))
    assert not host.faults
    host.register("double", double)
    with host:
        (fault,) = host.faults
        assert fault.entry == "f@0 steps.a.call"
        assert "did you mean 'double'?" in fault.reason
        with pytest.raises(FunctionCrashed, match="no function 'doubel' is registered"):
            host.call("f")


def test_nothing_runs_of_a_flow_that_calls_what_nobody_knows(host):
    """Whether it has come or gone since."""
    ran = []
    host.register("first", lambda: ran.append(1))
    second = host.register("second", lambda: None)
    host.add_flow(Flow("f").step("a", "first").step("b", "second", after=["a"]))
    second.remove()
    with pytest.raises(FunctionCrashed, match=r"step 'b' \(second\) of the flow f: no function 'second'"):
        host.call("f")
    assert not ran
    host.register("second", lambda: 2)
    assert host.call("f") == 2


@pytest.mark.parametrize(
    ("flow", "place", "said"),
    [
        (Flow("f").step("a", "doubel"), "steps.a.call", "did you mean 'double'?"),
        (Flow("f").step("a", "auth.check", token=1), "steps.a.with", "str is wanted, and one of 1 is given"),
        (Flow("f").step("a", "mail.notify", text="x"), "steps.a.with", "'to' is wanted, and not given"),
        (Flow("f").step("a", "mail.notify", text="x", to=1, cc=2), "steps.a.with", "'cc' is given, and not taken"),
        (CHECKOUT.step("x", "double", number="$auth.name"), "steps.x.with", "int is wanted, and str is given"),
        (CHECKOUT.step("x", "double", number="$auth.nmae"), "steps.x.with", "there is no 'nmae' in $auth"),
        (CHECKOUT.step("x", "double", number="$cache.id"), "steps.x.with", "there is no 'id' in $cache, which is int"),
        (CHECKOUT.step("x", "double", number="$item", each="$auth.name"), "steps.x.each", "`each` goes over a list"),
        (
            CHECKOUT.step("x", "double", number="$item", each="$auth.tags"),
            "steps.x.each",
            "there is no 'tags' in $auth",
        ),
        (
            CHECKOUT.step("x", "double", number="$item", each="$names"),
            "steps.x.with",
            "int is wanted, and str is given",
        ),
        (Flow("f", output="$auth.nmae", steps=CHECKOUT.steps), "output", "there is no 'nmae' in $auth"),
    ],
)
def test_references_are_held_against_the_contracts(host, flow, place, said):
    """Where both are known: a running host refuses the flow, one that starts has a fault."""

    def names() -> list[str]:
        return []

    host.register("names", names)
    flow = flow.step("names", "names")
    with pytest.raises(ContractError) as caught:
        host.add_flow(flow)
    (fault,) = caught.value.faults
    assert fault.entry == f"{flow.key} {place}"
    assert said in f"{fault.reason} {fault.fix}"

    other = Host(observers=())
    other.add_flow(flow)
    for name, target in {**FUNCTIONS, "names": names}.items():
        other.register(name, target)
    with other:
        assert other.faults == (fault,)


@pytest.mark.parametrize(
    "flow",
    [
        CHECKOUT,
        Flow("f").step("a", "maybe").step("b", "cache.warm", user="$a").step("c", "double", number="$a.id"),
        Flow("f").step("a", "loose").step("b", "double", number="$a.x.y.0"),
        Flow("f").step("a", "loose").step("b", "double", number="$item", each="$a.items"),
        Flow("f").step("a", "mail.notify", text="$input.x", to="$input.y"),
        Flow("f").step("a", "dated", on="2026-11-26"),
    ],
)
def test_what_cannot_be_told_is_taken_to_fit(host, flow):
    """None where there may be something is seen when it runs."""

    def maybe() -> User | None:
        return None

    def loose() -> dict:
        return {}

    def dated(on: dt.date) -> None:
        pass

    for target in (maybe, loose, dated):
        host.register(target.__name__, target)
    host.add_flow(flow)


def test_flows_that_call_one_another_without_an_end_are_drawn(host):
    """Itself, and around others."""
    with pytest.raises(ContractError, match="without an end: f → f"):
        host.add_flow(Flow("f").step("a", "f"))
    other = Host(observers=())
    other.add_flow(Flow("one").step("a", "two"))
    other.add_flow(Flow("two").step("a", "three"))
    with pytest.raises(ContractError, match="without an end: three → one → two → three"):
        other.add_flow(Flow("three").step("a", "one"))


def test_a_flow_gives_what_its_output_gives():
    """Learnt when the host starts, if not before; of a flow within a flow as well."""
    host = Host(observers=())
    host.add_flow(Flow("outer").step("a", "checkout"))
    host.add_flow(
        Flow("checkout", output={"user": "$auth", "n": "$cache", "all": ["$auth.name"]}, steps=CHECKOUT.steps)
    )
    assert host.describe("outer").remote.result == {}
    for name, target in FUNCTIONS.items():
        host.register(name, target)
    with host:

        @attrs.frozen
        class Result:
            user: User
            n: int
            all: list[str]

        for name in ("checkout", "outer"):
            host.function(name, dict, Result)
            with pytest.raises(ContractError, match="result"):
                host.function(name, dict, int)
        given = host.function("checkout", dict, Result)({"token": "abc"})
        assert given == Result(User(3, "the bearer of abc"), 3, ["the bearer of abc"])


def test_a_flow_is_known_by_its_spec(host):
    """With a line that names its steps."""
    host.add_flow(CHECKOUT)
    spec = host.describe("checkout")
    assert flow_of(spec) == CHECKOUT
    assert flow_of(host.describe("double")) is None
    assert spec.summary == "A flow: auth (auth.check), cache (cache.warm), notify (mail.notify)"
    assert spec.policy.timeout == PATIENCE


def test_a_flow_refuses_before_the_start_as_any_function_does():
    """And after the end."""
    host = Host(observers=())
    host.add_flow(CHECKOUT)
    with pytest.raises(Unavailable):
        host.call("checkout", {"token": "x"})


def test_a_function_that_blocks_runs_in_a_thread_of_its_own(host):
    """The home loop goes on meanwhile."""
    go = threading.Event()

    async def opens() -> None:
        go.set()

    host.register("blocks", function(timeout=PATIENCE)(lambda: go.wait(PATIENCE)))
    host.register("opens", opens)
    host.add_flow(Flow("f").step("a", "blocks").step("b", "opens"))
    assert host.call("f")["a"] is True
