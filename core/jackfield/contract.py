"""A callable → its `FunctionSpec`, or every fault of it at once; and how two contracts differ."""

import contextlib
import functools
import inspect
import math
import types
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Literal, TypeVar, get_args, get_origin, overload

from jackfield.errors import ContractError, Fault
from jackfield.injection.hints import Unreadable, evaluate, signature
from jackfield.injection.markers import Inject, dependency, key_of
from jackfield.model.call import Call
from jackfield.model.names import NAME_LIMIT, name_fault, version_fault
from jackfield.model.spec import MISSING, Colour, Dependency, FunctionSpec, Parameter, PayloadShape, Policy
from jackfield.payload import annotation_note
from jackfield.schema import Array, Field, Table, is_pydantic, is_typed_dict, is_union, record, render, strip, view

_POLICY: Final = "__jackfield_policy__"
_SUMMARY_LIMIT = 200
_F = TypeVar("_F", bound=Callable[..., Any])


@overload
def function(fn: _F, /) -> _F: ...
@overload
def function(
    *, timeout: float | None = None, executor: str | None = None, idempotent: bool = False
) -> Callable[[_F], _F]: ...
def function(
    fn: Any = None, /, *, timeout: float | None = None, executor: str | None = None, idempotent: bool = False
) -> Any:
    """Note on a function or class how it wants to be run; it stays the very same object.

    Args:
        fn: what is decorated, when the decorator is used without parentheses.
        timeout: seconds that one call may take.
        executor: `inline`, `thread`, … instead of the host's choice.
        idempotent: calling twice does what calling once does, so that a lost call may be tried again.

    Returns:
        The function itself, or a decorator that returns it.

    Raises:
        TypeError: if an argument has the wrong type, or nothing can be attached to `fn`.
        ValueError: if `timeout` is not a positive, finite number of seconds, or `executor` is empty.

    Examples:
        >>> @function(timeout=0.5)
        ... def double(x: int) -> int:
        ...     return 2 * x
        >>> double(4)
        8
    """
    if timeout is not None:
        if isinstance(timeout, bool) or not isinstance(timeout, int | float):
            raise TypeError(f"timeout is a number of seconds or None, not {type(timeout).__name__}")
        if not (timeout > 0 and math.isfinite(timeout)):
            raise ValueError(f"timeout is a positive number of seconds, not {timeout!r}; None is no limit of its own")
    if executor is not None and not isinstance(executor, str):
        raise TypeError(f"executor is a name such as 'thread', not {type(executor).__name__}")
    if executor == "":
        raise ValueError("executor is a name such as 'thread', or None")
    if not isinstance(idempotent, bool):
        raise TypeError(f"idempotent is True or False, not {type(idempotent).__name__}")
    policy = Policy(timeout, executor, idempotent)

    def attach(fn: _F) -> _F:
        if not callable(fn):
            raise TypeError(f"@function is for functions and classes, not for {type(fn).__name__}")
        try:
            setattr(fn, _POLICY, policy)
        except (AttributeError, TypeError):
            shown = getattr(fn, "__qualname__", type(fn).__name__)
            raise TypeError(f"@function cannot mark {shown}: wrap it in a function and decorate that") from None
        return fn

    return attach if fn is None else attach(fn)


def specify(
    name: str,
    target: Any,
    *,
    version: str = "0",
    plugin: str = "",
    distribution: str = "",
    policy: Policy | None = None,
) -> FunctionSpec:
    """Learn all that is to be known of a callable before its first call.

    Args:
        name: the dotted name it is to be called by.
        target: a function, async function, partial, method, object or class with `__call__`, …
        version: its version.
        plugin: whose it is, for the faults.
        distribution: the installed distribution it came from.
        policy: how it is to be run, instead of what `@function` notes on it.

    Returns:
        The spec.

    Raises:
        ContractError: with every fault of it.

    Examples:
        >>> def area(width: float, height: float = 1.0) -> float: ...
        >>> spec = specify("shape.area", area)
        >>> spec.shape, [parameter.name for parameter in spec.parameters], spec.result
        ('many', ['width', 'height'], <class 'float'>)
    """
    shown = str(name)[:NAME_LIMIT]
    found = [name_fault(name, plugin), version_fault(version, shown, plugin)]
    reading = _Reading(shown, plugin, [fault for fault in found if fault is not None])
    reading.read(target)
    if reading.faults:
        raise ContractError(shown, tuple(reading.faults))
    return FunctionSpec(
        name,
        version,
        plugin,
        distribution,
        target,
        reading.colour,
        isinstance(target, type),
        reading.shape,
        tuple(reading.parameters),
        tuple(reading.dependencies),
        reading.result,
        policy if policy is not None else _noted_policy(target),
        _summary(target),
        tuple(reading.notes),
    )


class _Reading:
    """What is learned of one callable, faults and notes included."""

    def __init__(self, name: str, plugin: str, faults: list[Fault]) -> None:
        self.name, self.plugin, self.faults = name, plugin, faults
        self.notes: list[str] = []
        self.parameters: list[Parameter] = []
        self.dependencies: list[Dependency] = []
        self.colour = Colour.SYNC
        self.shape: PayloadShape = "none"
        self.result: Any = Any

    def fault(self, reason: str, fix: str) -> None:
        self.faults.append(Fault("contract", self.plugin, self.name, reason, fix))

    def read(self, target: Any) -> None:
        if isinstance(target, type):
            if not self._constructor(target):
                return
            call = _call_of(target)
        elif callable(target):
            call = target
        else:
            kind = "a module" if isinstance(target, types.ModuleType) else f"of type {type(target).__name__}"
            self.fault(f"it is {kind}, which cannot be called", "advertise a function or a class with `__call__`")
            return
        self._body(call)
        try:
            read = signature(call)
        except (TypeError, ValueError):
            self.shape = "opaque"
            self.notes.append("no signature to be had: the payload is passed unchecked as the one positional argument")
            return
        for parameter in read.parameters.values():
            if parameter.kind is not parameter.VAR_POSITIONAL and parameter.name not in _bound_keywords(call):
                self._parameter(call, parameter, isinstance(target, type))
        self.result = self._evaluated(call, "return", read.return_annotation)
        if any(parameter.kind is parameter.kind.VAR_KEYWORD for parameter in self.parameters):
            self.shape = "many"
        else:
            self.shape = "none" if not self.parameters else "one" if len(self.parameters) == 1 else "many"

    def _body(self, call: Any) -> None:
        """Find the colour, and refuse generators."""
        plain = inspect.isroutine(call) or isinstance(call, functools.partial)
        inner = call if plain else getattr(call, "__call__", call)  # noqa: B004  # the method itself is wanted
        for kind, test in (
            ("a generator function", inspect.isgeneratorfunction),
            ("an async generator function", inspect.isasyncgenfunction),
        ):
            if test(call) or test(inner):
                self.fault(f"it is {kind}, and a call has one result", "return a list, or a record with a cursor")
        if inspect.iscoroutinefunction(call) or inspect.iscoroutinefunction(inner):
            self.colour = Colour.ASYNC
        elif inspect.iscoroutinefunction(_unwrapped(call)) or inspect.iscoroutinefunction(_unwrapped(inner)):
            self.colour = Colour.ASYNC
            self.notes.append("a plain function wraps an async one: what it returns is awaited")

    def _constructor(self, cls: type) -> bool:
        """Read the dependencies of a class from its constructor; False if the class is no function at all."""
        if not any("__call__" in vars(base) for base in cls.__mro__ if base is not type):
            self.fault(
                f"the class {cls.__qualname__} has no `__call__` of its own",
                f"give it one, or advertise a function that makes a {cls.__qualname__}",
            )
            return False
        if inspect.isabstract(cls) or getattr(cls, "_is_protocol", False):
            self.fault(f"the class {cls.__qualname__} is abstract", "advertise a class that implements it")
            return False
        parameters: list[inspect.Parameter] = []
        with contextlib.suppress(TypeError, ValueError):  # a builtin constructor: nothing to inject
            parameters = list(signature(cls).parameters.values())
        for parameter in parameters:
            annotation = self._evaluated(cls, parameter.name, parameter.annotation)
            if isinstance(parameter.default, Inject) or key_of(annotation).type is Call:
                self._dependency(parameter, annotation)
            elif parameter.default is parameter.empty and parameter.kind not in _VARIADIC:
                self.fault(
                    f"the constructor parameter {parameter.name!r} is required and not injected",
                    "give it a default, or `= inject()`",
                )
        taken = {parameter.name for parameter in parameters}
        for base in cls.__mro__:
            for attribute, value in vars(base).items():
                if isinstance(value, Inject) and taken.isdisjoint({attribute, attribute.lstrip("_")}):
                    self.fault(
                        f"{attribute!r} is `inject()`, but no constructor parameter takes it",
                        f"make {base.__qualname__} an attrs class or a dataclass",
                    )
        return True

    def _parameter(self, call: Any, parameter: inspect.Parameter, of_class: bool) -> None:
        annotation = self._evaluated(call, parameter.name, parameter.annotation)
        if isinstance(parameter.default, Inject) or key_of(annotation).type is Call:
            if of_class:
                field = f"{parameter.name}: {render(annotation)} = inject()"
                self.fault(
                    f"`__call__` has the injected parameter {parameter.name!r}: a class has its dependencies as fields",
                    f"move it to the class, as `{field}`",
                )
            else:
                self._dependency(parameter, annotation)
            return
        if (note := annotation_note(annotation)) is not None:
            self.notes.append(f"parameter {parameter.name!r}: {note}")
        default = MISSING if parameter.default is parameter.empty else parameter.default
        self.parameters.append(Parameter(parameter.name, parameter.kind, annotation, default))

    def _dependency(self, parameter: inspect.Parameter, annotation: Any) -> None:
        marker = parameter.default if isinstance(parameter.default, Inject) else Inject()
        found = dependency(parameter.name, annotation, marker)
        if parameter.kind is parameter.POSITIONAL_ONLY:
            self.fault(
                f"the injected parameter {parameter.name!r} is positional-only",
                "put it after the `/`: dependencies are passed by keyword",
            )
        if found.key.type is object and found.key.name is None:
            self.fault(
                f"nothing says what to inject for {parameter.name!r}",
                "annotate it with a type that can be imported, or use `inject(name=…)`",
            )
        self.dependencies.append(found)

    def _evaluated(self, owner: Any, name: str, annotation: Any) -> Any:
        if annotation is inspect.Parameter.empty:
            return Any
        try:
            return evaluate(owner, name, annotation)
        except Unreadable as problem:
            what = "the result" if name == "return" else f"parameter {name!r}"
            self.notes.append(f"{what}: the annotation cannot be evaluated ({str(problem)[:120]}): taken as Any")
            return Any


_VARIADIC: Final = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def _call_of(cls: type) -> Any:
    """Give `__call__` as an instance of the class would have it; `cls.__call__` may be the metaclass's."""
    found: Any = next((vars(base)["__call__"] for base in cls.__mro__ if "__call__" in vars(base)), None)
    try:
        return found.__get__(object(), cls)
    except (AttributeError, TypeError):  # an object that is called, or a method in C, which insists on its class
        return functools.partial(found, None) if inspect.isroutine(found) else found


def _bound_keywords(call: Any) -> frozenset[str]:
    """Name what partials have bound: the caller of a function must not be able to replace it."""
    bound: frozenset[str] = frozenset()
    while isinstance(call, functools.partial):
        bound |= call.keywords.keys()
        call = call.func
    return bound


def _unwrapped(call: Any) -> Any:
    """Look through partials, methods and `functools.wraps`, in whatever order they are stacked."""
    while True:
        if isinstance(call, functools.partial):
            call = call.func
        elif hasattr(call, "__wrapped__"):
            call = call.__wrapped__
        elif isinstance(call, types.MethodType):
            call = call.__func__
        else:
            return call


def _noted_policy(target: Any) -> Policy:
    while isinstance(target, functools.partial) and not hasattr(target, _POLICY):
        target = target.func
    noted = getattr(target, _POLICY, None)
    return noted if isinstance(noted, Policy) else Policy()


def _summary(target: Any) -> str:
    while isinstance(target, functools.partial):
        target = target.func
    docs = [inspect.getdoc(target)]
    if isinstance(target, type):
        generated = (docs[0] or "").startswith(f"{target.__name__}(")  # what `@dataclass` writes
        docs = [None if generated else target.__doc__, getattr(_call_of(target), "__doc__", None)]
    text = next((doc.strip() for doc in docs if isinstance(doc, str) and doc.strip()), "")
    return text.partition("\n")[0][:_SUMMARY_LIMIT]


def fits(spec: FunctionSpec, payload: Any, result: Any) -> tuple[str, ...]:
    """Say how a function differs from what a caller expects of it.

    The function must take what the caller passes, as plain data too (a `dict` for a record, a `list` for a `tuple`),
    and give something that is what the caller expects. What cannot be told from the annotations is taken to fit.

    Args:
        spec: the function.
        payload: what the caller passes; for a function of several parameters a mapping type or a record class.
        result: what the caller expects back.

    Returns:
        The differences in words; empty if it fits.

    Examples:
        >>> def length(text: str) -> int: ...
        >>> fits(specify("text.length", length), str, int)
        ()
        >>> fits(specify("text.length", length), bytes, str)
        ('payload: expected to pass bytes, the function takes str', 'result: expected str, the function returns int')
    """
    differences = list(_payload_differences(spec, strip(payload)))
    if not _accepts(result, spec.result, converted=False):
        differences.append(f"result: expected {render(result)}, the function returns {render(spec.result)}")
    return tuple(differences)


def _payload_differences(spec: FunctionSpec, payload: Any) -> Iterable[str]:
    if payload is Any or spec.shape == "opaque":
        return
    if spec.shape == "one":
        wanted = spec.parameters[0].annotation
        if not _accepts(wanted, payload, converted=True):
            yield f"payload: expected to pass {render(payload)}, the function takes {render(wanted)}"
        return
    if spec.shape == "none":
        if payload is not type(None):
            yield f"payload: expected to pass {render(payload)}, the function takes none"
        return
    yield from _many_differences(spec, payload)


def _many_differences(spec: FunctionSpec, payload: Any) -> Iterable[str]:  # noqa: C901  # a list of rules
    """Hold the fields of a record, or the values of a mapping, against several parameters."""
    parameters = {item.name: item for item in spec.parameters if item.kind is not item.kind.VAR_KEYWORD}
    required = [item for item in parameters.values() if item.default is MISSING]
    shape = view(payload)
    if isinstance(shape, Table):
        for item in required:
            if not _accepts(item.annotation, shape.value, converted=True):
                yield _field_difference(item.name, shape.value, item.annotation)
        return
    if payload is type(None) and not required:
        return
    fields = _record_fields(payload)
    if fields is None:
        yield f"payload: expected to pass {render(payload)}, the function takes a record of {', '.join(parameters)}"
        return
    for item in required:
        if item.name not in fields or not fields[item.name].required:
            yield f"payload: {render(payload)} need not have {item.name!r}, which the function requires"
    rest = next((item.annotation for item in spec.parameters if item.kind is item.kind.VAR_KEYWORD), None)
    for name, field in fields.items():
        wanted = parameters[name].annotation if name in parameters else rest
        if wanted is None:
            yield f"payload: the function has no parameter {name!r}, a field of {render(payload)}"
        elif not _accepts(wanted, field.type, converted=True):
            yield _field_difference(name, field.type, wanted)


def _field_difference(name: str, passed: Any, wanted: Any) -> str:
    return f"payload: {name!r}: expected to pass {render(passed)}, the function takes {render(wanted)}"


def _record_fields(payload: Any) -> Mapping[str, Field] | None:
    """Give the fields of a record class by the parameter they stand for; all are there once there is an instance."""
    cls = get_origin(payload) or payload
    if is_pydantic(cls):
        return {name: Field(name, info.annotation) for name, info in cls.model_fields.items()}
    found = record(payload)
    if found is None:
        return None
    if found.kind == "typeddict":
        return {field.name: field for field in found.fields}
    return {field.argument: Field(field.name, field.type) for field in found.fields}


def _accepts(wanted: Any, given: Any, *, converted: bool) -> bool:  # noqa: C901, PLR0911, PLR0912  # a list of rules
    """Tell whether a value of one type will do where another is wanted; `converted`: after conversion of plain data."""
    wanted, given = strip(wanted), strip(given)
    if wanted in (Any, object) or given is Any or wanted == given:
        return True
    if is_union(given):
        return all(_accepts(wanted, member, converted=converted) for member in get_args(given))
    if is_union(wanted):
        return any(_accepts(member, given, converted=converted) for member in get_args(wanted))
    if get_origin(given) is Literal:
        if get_origin(wanted) is Literal:
            return {(type(value), value) for value in get_args(given)} <= {
                (type(value), value) for value in get_args(wanted)
            }
        return all(_accepts(wanted, type(value), converted=converted) for value in get_args(given))
    if get_origin(wanted) is Literal:
        return False
    kind, other = get_origin(wanted) or wanted, get_origin(given) or given
    if not (isinstance(kind, type) and isinstance(other, type)):
        return True  # a forward reference and the like
    if (kind, other) in {(float, int), (complex, int), (complex, float)}:
        return True
    if converted:
        if other is bool and kind in {int, float}:
            return False
        listed, passed = view(wanted), view(given)
        if isinstance(listed, Array) and isinstance(passed, Array):
            return _accepts(listed.item, passed.item, converted=True)
        known = record(wanted)
        if known is not None and known.kind != "typeddict" and isinstance(passed, Table):
            return True
        if known is not None and is_typed_dict(other):
            return _covers(known.fields, given)
    if is_typed_dict(kind):
        whole = record(wanted)
        if whole is not None and is_typed_dict(other):
            return _covers(whole.fields, given)
        return converted and isinstance(view(given), Table)
    try:
        if not issubclass(dict if is_typed_dict(other) else other, kind):
            return False
    except TypeError:  # a protocol that is not `@runtime_checkable`
        return True
    return _arguments_fit(kind, get_args(wanted), other, get_args(given), converted)


def _covers(wanted: Iterable[Field], given: Any) -> bool:
    passed = _record_fields(given) or {}
    return all(
        (not field.required or (field.name in passed and passed[field.name].required))
        and (field.name not in passed or _accepts(field.type, passed[field.name].type, converted=True))
        for field in wanted
    )


def _arguments_fit(kind: type, wanted: tuple[Any, ...], other: type, given: tuple[Any, ...], converted: bool) -> bool:
    if not wanted or not given:
        return True  # `list` says nothing of its items
    if issubclass(other, tuple) and other is tuple:
        items = given[:1] if given[-1] is ... else given
        if kind is not tuple or wanted[-1] is ...:
            return all(_accepts(wanted[0], item, converted=converted) for item in items)
        if given[-1] is ...:
            return False
    elif kind is tuple:
        return True
    if (
        isinstance(wanted[0], list) or isinstance(given[0], list) or wanted[0] is ...
    ):  # a `Callable`: its result decides
        return _accepts(wanted[-1], given[-1], converted=False)
    return len(wanted) == len(given) and all(
        _accepts(one, another, converted=converted) for one, another in zip(wanted, given, strict=True)
    )


def changes(old: FunctionSpec, new: FunctionSpec) -> tuple[str, ...]:
    """Say how the contract of one version of a function differs from another's.

    Args:
        old: the version that is there.
        new: the version that joins it.

    Returns:
        The differences in words; empty if callers see none.

    Examples:
        >>> def one(text: str) -> str: ...
        >>> def two(text: str, lower: bool) -> str: ...
        >>> changes(specify("f", one), specify("f", two))
        ('payload: one value (text: str) became a record of text, lower',)
    """
    said: list[str] = []
    if old.shape == new.shape == "one":
        said += _type_changes("payload", old.parameters[0].annotation, new.parameters[0].annotation)
    elif old.shape != new.shape:
        said.append(f"payload: {_payload_words(old)} became {_payload_words(new)}")
    else:
        said += _field_changes("parameter", _as_fields(old), _as_fields(new))
    said += _type_changes("result", old.result, new.result)
    if old.colour is not new.colour:
        said.append(f"colour: {old.colour.value} became {new.colour.value}")
    return tuple(said)


def _as_fields(spec: FunctionSpec) -> tuple[Field, ...]:
    return tuple(Field(item.name, item.annotation, item.default is MISSING) for item in spec.parameters)


def _payload_words(spec: FunctionSpec) -> str:
    names = [parameter.name for parameter in spec.parameters]
    match spec.shape:
        case "one":
            return f"one value ({names[0]}: {render(spec.parameters[0].annotation)})"
        case "many":
            return f"a record of {', '.join(names)}"
        case "none":
            return "none"
        case _:
            return "an unchecked value"


def _type_changes(what: str, old: Any, new: Any) -> Iterable[str]:
    if old == new:
        return
    before, after = record(strip(old)), record(strip(new))
    if render(old) != render(new):
        yield f"{what}: {render(old)} became {render(new)}"
    elif before is not None and after is not None:  # the same class in another release
        yield from _field_changes(f"{what}: {render(new)} field", before.fields, after.fields)
    elif strip(old) == strip(new):
        yield f"{what}: {render(new)} has other constraints"


def _field_changes(what: str, old: tuple[Field, ...], new: tuple[Field, ...]) -> Iterable[str]:
    before, after = ({field.name: field for field in fields} for fields in (old, new))
    for name, field in before.items():
        if name not in after:
            yield f"{what} {name!r} removed"
            continue
        yield from _type_changes(f"{what} {name!r}", field.type, after[name].type)
        if field.required != after[name].required:
            yield f"{what} {name!r} is now {'required' if after[name].required else 'optional'}"
    for name, field in after.items():
        if name not in before:
            yield f"{what} {name!r} added ({'required' if field.required else 'optional'}, {render(field.type)})"
