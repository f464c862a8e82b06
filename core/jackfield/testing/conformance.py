"""Assert that a plugin does in a worker what it does in process: results, errors, what is injected, limits."""

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from jackfield.config import Configuration, PluginConfig
from jackfield.config.apart import WorkerConfig
from jackfield.contract.payload import payload_schema
from jackfield.errors import FunctionCrashed
from jackfield.host import Host
from jackfield.model.spec import FunctionSpec
from jackfield.strangers import is_interrupt
from jackfield.testing.examples import generated
from jackfield.wire.documents import to_json
from jackfield.wire.errors import describe
from jackfield.wire.signature import shown_dependencies, shown_parameters, shown_result

_SHOWN: Final = 300  # characters of a payload or a result
_UNLIKE: Final = frozenset({"function", "remote_stack", "message", "overdue", "faults"})  # of errors, from call to call


@attrs.frozen
class Difference:
    """Something that is not the same in a worker.

    Attributes:
        where: the function, with the payload if it was called.
        here: what there is in process.
        worker: what there is in a worker.
    """

    where: str
    here: str
    worker: str

    def __str__(self) -> str:
        """Render on three lines."""
        return f"{self.where}\n    in process   {self.here}\n    in a worker  {self.worker}"


@attrs.frozen
class Conformance:
    """What was compared.

    Attributes:
        functions: those that were called, by name.
        calls: how many payloads were given to each of the two.
        uncalled: functions for which there was no payload.
    """

    functions: tuple[str, ...]
    calls: int
    uncalled: tuple[str, ...] = ()


def assert_conforms(
    plugin: str,
    payloads: Mapping[str, Iterable[Any]] | None = None,
    *,
    examples: int = 10,
    allow: Iterable[str] = ("all",),
    options: Mapping[str, Any] | None = None,
    timeout: float = 30.0,
) -> Conformance:
    """Assert that the functions of a plugin do in a worker what they do in process.

    Each function is really called, in both places, with each payload: with those that are given, and with some that are
    made up from its schema if hypothesis is installed. Compared are what is there and what is injected, what a call
    with a deadline that has passed comes to, and the results (as `to_json` writes them) or errors of all the others.

    Args:
        plugin: the name of an installed plugin, or the path of a file or folder.
        payloads: function → payloads that it is to be called with.
        examples: how many are made up for each function besides; 0 for functions that must not get just any.
        allow: capabilities that it gets, as `allow` of `[plugin.worker]`; by default what its manifest asks for.
        options: its `[plugin.options]`.
        timeout: seconds that one call may take.

    Returns:
        What was compared.

    Raises:
        AssertionError: with every difference; or if there is nothing to compare.
    """
    here, apart = (_configured(plugin, executor, allow, options) for executor in (None, "worker"))
    with Host.from_config(here, observers=()) as one, Host.from_config(apart, observers=()) as other:
        found = list(_declared(one, other))
        names = [name for name in _names(one) if name in _names(other)]
        if not names:
            raise AssertionError(_report(plugin, found) or f"{plugin} has no function: {_faults(one)}")
        called: list[str] = []
        uncalled: list[str] = []
        calls = 0
        for name in names:
            values = list((payloads or {}).get(name, ())) + generated(payload_schema(one.describe(name)), examples)
            (called if values else uncalled).append(name)
            calls += len(values)
            found += _compared(one, other, name, values, timeout)
        unknown = [name for name in payloads or {} if name not in names]
        found += (Difference(f"{name}: payloads are given for it", "no such function", "") for name in unknown)
    if found:
        raise AssertionError(_report(plugin, found))
    return Conformance(tuple(called), calls, tuple(uncalled))


def _configured(
    plugin: str, executor: str | None, allow: Iterable[str], options: Mapping[str, Any] | None
) -> Configuration:
    path = str(Path(plugin).resolve()) if plugin.endswith(".py") or "/" in plugin else plugin
    name = Path(plugin).stem if path != plugin or "/" in plugin else plugin
    worker = WorkerConfig(allow=tuple(allow)) if executor is not None else None
    made = PluginConfig(name, path, executor=executor, options=dict(options or {}), worker=worker)
    return Configuration(Path(tempfile.gettempdir()) / "conformance.toml", {name: made})


def _names(host: Host) -> list[str]:
    return sorted(host.snapshot.functions)


def _declared(one: Host, other: Host) -> Iterator[Difference]:
    """Compare what there is before anything is called."""
    both = _names(one), _names(other)
    for name in sorted({*both[0]} ^ {*both[1]}):
        yield Difference(name, *("is there" if name in _names(host) else _why(host, name) for host in (one, other)))
    known = {(fault.stage, fault.entry) for fault in one.faults}
    for fault in other.faults:
        if (fault.stage, fault.entry) not in known and fault.entry.partition("@")[0] not in both[0]:
            yield Difference(f"{fault.entry}: {fault.stage}", "no fault", f"{fault.reason} (fix: {fault.fix})")
    for name in (name for name in both[0] if name in both[1]):
        here, there = one.describe(name), other.describe(name)
        for what, read in _FACTS.items():
            if (mine := read(here)) != (theirs := read(there)):
                yield Difference(f"{name}: {what}", str(mine), str(theirs))


_FACTS: Final[Mapping[str, Callable[[FunctionSpec], Any]]] = {
    "version": lambda spec: spec.version,
    "parameters": shown_parameters,
    "result": shown_result,
    "injected": shown_dependencies,
    "colour": lambda spec: spec.colour.value,
    "timeout": lambda spec: spec.policy.timeout,
    "idempotent": lambda spec: spec.policy.idempotent,
}


def _why(host: Host, name: str) -> str:
    own = [fault for fault in host.faults if fault.entry.partition("@")[0] == name] or list(host.faults)
    return "is not there" + "".join(f": {fault.reason} (fix: {fault.fix})" for fault in own[:1])


def _faults(host: Host) -> str:
    return "; ".join(f"{fault.entry}: {fault.reason}" for fault in host.faults) or "nothing of it can be called"


def _compared(one: Host, other: Host, name: str, payloads: list[Any], timeout: float) -> Iterator[Difference]:
    for payload in payloads:
        here, there = _outcome(one, name, payload, timeout), _outcome(other, name, payload, timeout)
        if here.said != there.said and not here.alike(there):
            yield Difference(f"{name}({_short(_json(payload))})", _short(here.said), _short(there.said))
    for payload in payloads[:1]:
        here, there = _outcome(one, name, payload, 0.0), _outcome(other, name, payload, 0.0)
        if here.said != there.said:
            yield Difference(f"{name}({_short(_json(payload))}) past its deadline", here.said, there.said)


@attrs.frozen
class _Outcome:
    """What a call came to: what is said of it, and its result, if there is one."""

    said: str
    result: Any = None

    def alike(self, other: "_Outcome") -> bool:
        """Tell whether two results differ in the order of sets alone: another process hashes text differently."""
        if not _has_set(self.result):
            return False
        return bool(_sorted(_plain(self.result)) == _sorted(_plain(other.result)))


def _outcome(host: Host, name: str, payload: Any, timeout: float) -> _Outcome:
    try:
        result = host.call(name, payload, timeout=timeout)
    except BaseException as error:
        if is_interrupt(error):
            raise
        return _Outcome(_error(error, name))
    try:
        return _Outcome(f"gives {to_json(result).decode()}", result)
    except TypeError as wrong:
        return _Outcome(f"gives what has no form in plain data: {wrong}")


def _error(error: BaseException, name: str) -> str:
    if isinstance(error, FunctionCrashed):
        return f"raises {error.error_type}"
    failure = describe(error, name)
    fields = {key: value for key, value in failure.fields.items() if key not in _UNLIKE and value not in ("", None)}
    message = failure.fields.get("message", "") if failure.type == "Rejected" else ""
    return f"raises {failure.type} {message or ''} {_json(fields) if fields else ''}".rstrip()


def _json(value: Any) -> str:
    return to_json(value, fallback=repr).decode()


def _plain(value: Any) -> Any:
    import json  # noqa: PLC0415  # for who compares sets

    return json.loads(to_json(value))


def _sorted(plain: Any) -> Any:
    if isinstance(plain, list):
        return sorted(map(_sorted, plain), key=repr)
    return {key: _sorted(item) for key, item in plain.items()} if isinstance(plain, dict) else plain


def _has_set(value: Any) -> bool:
    if isinstance(value, set | frozenset):
        return True
    if isinstance(value, Mapping):
        return any(map(_has_set, value.values()))
    if isinstance(value, list | tuple):
        return any(map(_has_set, value))
    names = getattr(type(value), "__match_args__", ())  # of attrs and dataclasses: their fields
    return any(_has_set(getattr(value, name, None)) for name in names)


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _report(plugin: str, found: list[Difference]) -> str:
    if not found:
        return ""
    shown = "\n".join(f"  {line}" for difference in found for line in str(difference).splitlines())
    return f"{plugin} does not do in a worker what it does in process ({len(found)} differences):\n{shown}"
