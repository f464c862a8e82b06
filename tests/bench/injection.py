"""Injection of three objects, against writing it by hand and against two containers."""

from collections.abc import Callable

import graph
from graph import Engine, Session, Settings
from harness import Effort, Series, measure, statement
from results import Row, Section
from subjects import ITEM, Item

from jackfield import Host, inject, provides
from jackfield.contract import specify
from jackfield.injection.injector import Injector
from jackfield.injection.providers import describe
from jackfield.model.call import Call


def wanting(
    item: Item,
    *,
    settings: Settings = inject(),
    engine: Engine = inject(),
    session: Session = inject(),
) -> int:
    """Take all three."""
    return item.count


def run(effort: Effort) -> Section:
    """Compare generated injection with the constructor calls, wireup and dishka; one request object, then three."""
    return Section(
        "Injection of three objects",
        "The compiled body alone, as the host runs it within a call. wireup and dishka each by their own generated"
        " wrapper and by a scope entered by hand, whichever is faster; dishka without locks.",
        [
            *_rows(effort, graph.LAST_ONLY, "one of them per request", barred=True),
            *_rows(effort, graph.ALL, "all of them per request", barred=False),
        ],
    )


def _rows(effort: Effort, per_request: tuple[bool, ...], which: str, *, barred: bool) -> list[Row]:
    rivals = {"wireup": graph.wireup_bodies(per_request), "dishka": graph.dishka_bodies(per_request)}
    floors = {"by hand": graph.by_hand(), "keeping": graph.by_hand_keeping_singletons()}
    bodies = floors | {f"{name} {how}": body for name, hows in rivals.items() for how, body in hows.items()}
    with Host(observers=()) as host:
        for cls, own in zip(graph.CLASSES, per_request, strict=True):
            host.provide(provides(scope="request" if own else "singleton")(cls))
        host.register("bench.wanting", wanting)
        call = Call("bench.wanting", ITEM)
        samplers = {label: statement("body(item)", body=body, item=ITEM) for label, body in bodies.items()}
        samplers["body"] = statement("body(call, item)", body=_compiled(per_request), call=call, item=ITEM)
        samplers["host"] = statement("host.call('bench.wanting', item)", host=host, item=ITEM)
        taken = measure(effort, samplers)
    body = f"injected body, {which}"
    rows = [Row(body, "the three constructor calls by hand", taken["body"], taken["by hand"], bar=1.25)]
    if barred:
        rows.append(Row(body, "by hand, singletons kept: one constructor call", taken["body"], taken["keeping"]))
    for name, hows in rivals.items():
        how, fastest = _fastest({how: taken[f"{name} {how}"] for how in hows})
        rows.append(Row(body, f"{name} ({how})", taken["body"], fastest, bar=0.25 if barred else None))
    rows.append(Row(f"`host.call`, {which}", "the three constructor calls by hand", taken["host"], taken["by hand"]))
    return rows


def _fastest(ways: dict[str, Series]) -> tuple[str, Series]:
    return min(ways.items(), key=lambda way: way[1].median)


def _compiled(per_request: tuple[bool, ...]) -> Callable[[Call, Item], int]:
    """Compile what the host runs within a call of the function; singletons are made by its first run."""
    injector = Injector()
    for cls, own in zip(graph.CLASSES, per_request, strict=True):
        injector.add(describe(provides(scope="request" if own else "singleton")(cls)))
    return injector.body(specify("bench.wanting", wanting))
