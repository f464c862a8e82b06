"""One host file served by several processes, seen as one host: what a verb does in all of them, and what it shows."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final

from jackfield.cli.processes import Processes
from jackfield.model.stored import Durations

Verb = Callable[[Mapping[str, Any]], Any]

_LOOK: Final = 5.0  # seconds
_TRACES: Final = 20  # that are shown unless somebody wants more
_MOST: Final = 0.99
_EVERYWHERE: Final = ("reload", "restart")
"""What concerns the code and the processes of plugins, which no store has; all else each process follows there."""


def together(own: Mapping[str, Verb], processes: Processes) -> Mapping[str, Verb]:
    """Give the verbs of a host whose door several processes serve.

    Args:
        own: those of the process that keeps the others.
        processes: the others.
    """

    def everywhere(name: str) -> Verb:
        def verb(arguments: Mapping[str, Any]) -> Any:
            done = own[name](arguments)  # what is refused here is not tried elsewhere
            processes.everywhere(name, arguments)
            return done

        return verb

    def seen(name: str) -> Verb:
        return lambda arguments: _added_up(own[name](arguments), processes.rows())

    def trace(arguments: Mapping[str, Any]) -> list[dict[str, Any]]:
        found = list(own["trace"](arguments))
        for more in processes.ask("trace", _LOOK, arguments).values():
            found += more if isinstance(more, list) else []  # one that has died meanwhile
        slowest = arguments.get("slow") and not arguments.get("errors")
        found.sort(key=lambda each: each["ms" if slowest else "at"], reverse=True)
        return found[: arguments.get("limit", _TRACES)]

    reloads = {name: everywhere(name) for name in _EVERYWHERE}
    return {**own, **reloads, "status": seen("status"), "dump_state": seen("dump_state"), "trace": trace}


def _added_up(own: dict[str, Any], rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Give the state of all processes as that of one host: what is under way in them, and what tenants were given."""
    shown = []
    states = [own]
    for row in rows:
        said = row.pop("said") or {}
        door = said.get("traffic", {}).get("http", {})
        shown.append({**row, "calls": said.get("calls", 0), **door})
        states += [said] if said else []
    doors = [state.get("traffic", {}).get("http", {}) for state in states]
    http = {key: sum(door.get(key, 0) for door in doors) for key in ("connections", "under_way", "requests")}
    inside = Counter({plugin["name"]: 0 for plugin in own["plugins"]})
    for state in states:
        inside.update({plugin["name"]: plugin["calls"] for plugin in state["plugins"]})
    return {
        **own,
        "calls": sum(state["calls"] for state in states),
        "plugins": [{**plugin, "calls": inside[plugin["name"]]} for plugin in own["plugins"]],
        "workers": [worker for state in states for worker in state["workers"]],
        "admission": _admission([state["admission"] for state in states if state["admission"]]),
        "traffic": {**own.get("traffic", {}), "http": http},
        "processes": shown,
    }


def _admission(each: list[dict[str, Any]]) -> dict[str, Any] | None:
    if not each:
        return None
    tenants: dict[str, dict[str, Any]] = {}
    for tenant in (tenant for told in each for tenant in told["tenants"]):
        before = tenants.get(tenant["name"])
        tenants[tenant["name"]] = tenant if before is None else _tenant(before, tenant)
    received = sum(tenant["seconds"] for tenant in tenants.values())
    due = sum(tenant["weight"] for tenant in tenants.values())
    for tenant in tenants.values():
        tenant["received"] = tenant["seconds"] / received if received else 0.0
        tenant["due"] = tenant["weight"] / due
    functions: dict[str, dict[str, Any]] = {}
    for function in (function for told in each for function in told["functions"]):
        before = functions.get(function["function"])
        functions[function["function"]] = function if before is None else _function(before, function)
    return {
        "limit": sum(told["limit"] for told in each),
        "inside": sum(told["inside"] for told in each),
        "tenants": list(tenants.values()),
        "functions": list(functions.values()),
    }


def _tenant(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    counted = ("seats", "inside", "waiting", "admitted", "left", "seconds", "waited")
    waits = tuple(map(sum, zip(one["waits"], other["waits"], strict=True)))
    return {
        **one,
        **{key: one[key] + other[key] for key in counted},
        "refused": dict(Counter(one["refused"]) + Counter(other["refused"])),
        "waits": list(waits),
        "wait_p99": Durations(waits).within(_MOST),
    }


def _function(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    counted = ("limit", "inside", "waiting")
    return {**one, **{key: one[key] + other[key] for key in counted}, "typical": max(one["typical"], other["typical"])}
