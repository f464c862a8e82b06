"""The graph: every fault found, at once, with the fix; and nothing refused that can be served."""

import inspect
from collections.abc import Iterator

import pytest

from jackfield.decorators import Inject, dependency, inject, provides
from jackfield.errors import CaptiveDependency, DependencyCycle, InjectionError, MissingDependency
from jackfield.injection.diagnosis import diagnose
from jackfield.injection.drawing import dot, mermaid
from jackfield.injection.graph import Graph
from jackfield.injection.providers import describe, value_provider
from jackfield.model.call import Call
from jackfield.model.spec import Colour, Dependency, FunctionSpec, Key


class Database: ...


class Postgres(Database): ...


class Cache: ...


class Logger: ...


def spec(target, name="f", plugin="demo"):
    """Describe a function by hand, without the contract compiler."""
    wanted = tuple(
        dependency(parameter.name, parameter.annotation, parameter.default)
        for parameter in inspect.signature(target).parameters.values()
        if isinstance(parameter.default, Inject)
    )
    colour = Colour.ASYNC if inspect.iscoroutinefunction(target) else Colour.SYNC
    return FunctionSpec(name, "0", plugin, "", target, colour, shape="opaque", dependencies=wanted)


def found(*factories, specs=(), contextual=()):
    providers = [factory if hasattr(factory, "key") else describe(factory, plugin="demo") for factory in factories]
    return diagnose(Graph(providers, contextual), specs)


def needs_db(x, *, db: Database = inject()): ...


def test_a_sound_graph_has_no_fault():
    """Nothing is found where nothing is wrong."""
    diagnosis = found(Database, specs=[spec(needs_db)])
    assert diagnosis.faults == ()
    assert diagnosis.functions == {}
    assert diagnosis.providers == {}


def test_a_missing_dependency_names_the_function_and_the_fix():
    """Without a provider the function is refused, the rest is not concerned."""

    def harmless(x): ...

    diagnosis = found(specs=[spec(needs_db), spec(harmless, "g")])
    (fault,) = diagnosis.faults
    assert (fault.entry, fault.plugin) == ("f@0", "demo")
    assert fault.reason == "nothing provides Database for 'db'"
    assert "optional=True" in fault.fix
    assert diagnosis.functions == {"f@0": (fault,)}
    assert type(diagnosis.error()) is MissingDependency
    assert str(fault) in str(diagnosis.error())


def test_optional_and_defaulted_dependencies_may_be_missing():
    """An optional dependency is no fault, nor is a provider's parameter with a default of its own."""

    def lenient(x, *, db: Database | None = inject(optional=True)): ...

    def cache(db: Database = None) -> Cache: ...

    assert found(cache, specs=[spec(lenient)]).faults == ()


def elsewhere():
    class Database: ...

    Database.__qualname__ = "Database"
    Database.__module__ = "other.place"
    return Database


def named() -> Database: ...
def subclass() -> Postgres: ...


@pytest.mark.parametrize(
    ("provider", "wanted", "hint"),
    [
        (provides(name="main")(named), inject(), "inject(name='main')"),
        (subclass, inject(), "provides Postgres, a subclass"),
        (elsewhere(), inject(), "import other.place:Database instead"),
        (Database, inject(name="main"), "leave the name out"),
        (value_provider("x", str, name="main"), inject(name="main"), "annotate it as str 'main'"),
    ],
)
def test_a_near_miss_is_suggested(provider, wanted, hint):
    """The likely mistake is named: another name, a subclass, the same class from another module."""

    def function(x, *, db: Database = wanted): ...

    (fault,) = found(provider, specs=[spec(function)]).faults
    assert hint in fault.fix


def test_a_base_class_is_a_near_miss_too():
    """Asking for the subclass where the base is provided."""

    def function(x, *, db: Postgres = inject()): ...

    (fault,) = found(Database, specs=[spec(function)]).faults
    assert "a base class" in fault.fix


def test_two_providers_of_one_key_are_ambiguous():
    """Both sides are named, neither wins, and who asks for the one is left out."""

    def first() -> Database: ...
    def second() -> Database: ...

    diagnosis = found(first, second, specs=[spec(needs_db)])
    fault = diagnosis.faults[0]
    assert "first [demo]" in fault.reason
    assert "second [demo]" in fault.reason
    assert "name=" in fault.fix
    assert set(diagnosis.functions) == {"f@0"}
    assert diagnosis.providers == {}, "whoever asks for all of them, or by a name, can have them"
    assert type(diagnosis.error()) is InjectionError


def test_a_name_alone_is_enough_unless_several_types_have_it():
    """A dependency without a type asks for a name."""

    def by_name(x, *, it=inject(name="it")): ...

    wanted = FunctionSpec(
        "f", "0", "demo", "", by_name, Colour.SYNC, dependencies=(Dependency("it", Key(object, "it")),)
    )
    assert found(value_provider(1, name="it"), specs=[wanted]).faults == ()
    (fault,) = found(value_provider(1, name="it"), value_provider("x", name="it"), specs=[wanted]).faults
    assert "several types have" in fault.reason
    assert "annotate 'it'" in fault.fix


def test_cycles_are_drawn():
    """Each provider on a cycle is in a drawing; what needs the cycle is left out with the path."""

    def database(cache: Cache) -> Database: ...
    def cache(logger: Logger) -> Cache: ...
    def logger(database: Database) -> Logger: ...

    diagnosis = found(database, cache, logger, specs=[spec(needs_db)])
    error = diagnosis.error()
    assert type(error) is DependencyCycle
    drawn = "test_cycles_are_drawn"
    assert error.drawing == f"{drawn}.database → {drawn}.cache → {drawn}.logger → {drawn}.database"
    assert error.drawing in str(error)
    assert len(diagnosis.providers) == 3
    assert "which cannot be provided" in diagnosis.functions["f@0"][0].reason


def test_a_provider_that_needs_what_it_provides_is_a_cycle():
    """The shortest cycle of all."""

    def database(inner: Database) -> Database: ...

    assert type(found(database).error()) is DependencyCycle


def test_a_singleton_must_not_hold_what_belongs_to_a_call():
    """Request-scoped objects and `Call` are captives of a singleton, directly or through others."""

    @provides(scope="request")
    def session() -> Iterator[Cache]:
        yield Cache()

    def holder(cache: Cache) -> Logger: ...
    def outer(logger: Logger) -> Database: ...

    diagnosis = found(session, holder, outer, specs=[spec(needs_db)])
    error = diagnosis.error()
    assert type(error) is CaptiveDependency
    assert "holder → " in error.drawing
    assert len(diagnosis.providers) == 2
    through = diagnosis.functions["f@0"][0].reason
    assert "outer → " in through
    assert "holder" in through

    def nosy(call: Call) -> Cache: ...

    assert type(found(nosy).error()) is CaptiveDependency
    assert found(provides(scope="request")(nosy)).faults == ()


def test_sync_code_cannot_have_what_is_made_by_awaiting():
    """Neither a sync function nor a sync provider; async ones can."""

    async def database() -> Database: ...
    def cache(database: Database) -> Cache: ...
    async def patient(x, *, db: Database = inject()): ...

    diagnosis = found(database, cache, specs=[spec(needs_db), spec(patient, "g")])
    assert len(diagnosis.faults) == 2
    assert all("make it an async function" in fault.fix for fault in diagnosis.faults)
    assert set(diagnosis.functions) == {"f@0"}


def test_nothing_may_provide_the_call():
    """`Call` is always the call under way."""
    (fault,) = found(value_provider(Call("x"))).faults
    assert "nothing can provide it" in fault.reason


def test_what_only_would_like_a_broken_provider_goes_without():
    """A faulty provider is left out; who needs it falls with it, who has it as an option does not."""

    def broken(nowhere: Logger) -> Database: ...
    def lenient(x, *, db: Database = inject(optional=True)): ...

    diagnosis = found(broken, specs=[spec(needs_db), spec(lenient, "g")])
    assert set(diagnosis.functions) == {"f@0"}
    assert "nothing provides Logger" in diagnosis.functions["f@0"][0].reason


def test_all_faults_are_in_one_report():
    """Missing, ambiguous, cyclic, captive and sync for async: a plain `InjectionError` that lists each once."""

    class A: ...

    class B: ...

    def a(b: B) -> A: ...
    def b(a: A) -> B: ...
    def one() -> Cache: ...
    def two() -> Cache: ...

    @provides(scope="request")
    def session() -> Database: ...

    def keeps(session: Database) -> Logger: ...
    async def later() -> int: ...
    def sync(number: int, nothing: bytes, cache: Cache) -> str: ...

    diagnosis = found(a, b, one, two, session, keeps, later, sync)
    error = diagnosis.error()
    assert type(error) is InjectionError
    text = str(error)
    for part in ("needs itself", "2 providers", "beyond its call", "it is sync", "nothing provides bytes"):
        assert text.count(part) == 1
    assert len(error.faults) == 5


def test_the_error_of_one_function_has_only_its_faults():
    """Registering one function is not answered with the faults of all."""

    def other(x, *, cache: Cache = inject(), log: Logger = inject()): ...

    diagnosis = found(specs=[spec(needs_db), spec(other, "g")])
    assert len(diagnosis.faults) == 3
    assert len(diagnosis.error("f@0").faults) == 1
    assert len(diagnosis.error("g@0").faults) == 2


def test_contextual_types_need_no_provider():
    """They resolve for every plugin, without a name; a provider for one comes first."""

    def logs(x, *, log: Logger = inject()): ...
    def app(x, *, log: Logger = inject(name="app-logger")): ...

    assert found(specs=[spec(logs)], contextual=[Logger]).faults == ()
    (fault,) = found(specs=[spec(app)], contextual=[Logger]).faults
    assert "leave the name out" in fault.fix
    assert found(value_provider(Logger(), name="app-logger"), specs=[spec(app)], contextual=[Logger]).faults == ()


def test_the_order_is_topological_and_deterministic():
    """Each provider after what it needs, and the same order every time."""

    def cache(database: Database, logger: Logger) -> Cache: ...

    providers = [describe(cache), describe(Database), describe(Logger)]
    order = Graph(providers).order
    assert [provider.key.type for provider in order] == [Database, Logger, Cache]
    assert Graph(providers).order == order


def test_an_unhashable_key_is_missing_and_no_crash():
    """An odd annotation gets a fault like any other."""
    wanted = (Dependency("x", Key([])),)
    function = FunctionSpec("f", "0", "", "", print, Colour.SYNC, dependencies=wanted)
    assert "nothing provides" in found(Database, specs=[function]).faults[0].reason


def awkward():
    class Quoted: ...

    Quoted.__qualname__ = 'A"]<b>\n\\'
    return Quoted


def test_drawings_escape_what_strangers_named():
    """Quotes, brackets, line ends and markup in names become text, in both languages."""
    graph = Graph([describe(awkward(), plugin='p"q')])
    drawn = mermaid(graph)
    assert "<b>" not in drawn
    assert len(drawn.splitlines()) == 3
    assert '\\"' in dot(graph)
    assert "\n\\" not in dot(graph).replace("\\n", "")


def test_drawings_show_functions_scopes_builtins_and_what_is_missing():
    """Each kind is told apart, optional edges are dotted, and a faulty graph can be drawn."""

    @provides(scope="request")
    def cache(db: Database, call: Call) -> Cache: ...
    def function(
        x, *, cache: Cache = inject(), log: Logger = inject(), n: int = inject(), o: Cache = inject(optional=True)
    ): ...

    graph = Graph([describe(Database), describe(cache), value_provider("v", name="s")], [Logger])
    drawn = mermaid(graph, [spec(function)])
    for kind in ("function", "singleton", "request", "builtin", "missing"):
        assert f":::{kind}" in drawn
        assert f'class="{kind}"' in dot(graph, [spec(function)])
    assert "-.->" in drawn
    assert drawn == mermaid(graph, [spec(function)])
