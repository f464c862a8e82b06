"""A callable → its `FunctionSpec`, or every fault of it at once."""

import contextlib
import functools
import inspect
import re
import sys
import types
from typing import Any, Final, Self

import attrs

from jackfield.contract.payload import draw, note_of
from jackfield.contract.shapes import render
from jackfield.decorators import Inject, dependency, inject, key_of, marker_of, noted_policy
from jackfield.errors import ContractError, Fault
from jackfield.injection.hints import annotations, evaluate, owner_of, signature, written_in
from jackfield.model.call import Call
from jackfield.model.generics import is_open, is_unpacked, lineage, packed, substitute
from jackfield.model.injectable import is_injectable
from jackfield.model.names import NAME_LIMIT, name_fault, version_fault
from jackfield.model.place import place_of
from jackfield.model.spec import MISSING, Colour, Dependency, FunctionSpec, Parameter, PayloadShape, Policy
from jackfield.strangers import Broken, barrier, can_be_key, innermost, is_a, layers, named

_SUMMARY_LIMIT: Final = 200
_REASON_LIMIT: Final = 500
_VARIADIC: Final = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


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
    try:
        with barrier():
            reading.read(target)
            noted = policy if policy is not None else noted_policy(target)
    except Broken as broken:
        fix = "advertise a plain function, which calls it: whatever looks at this object runs code of its own"
        reading.fault(broken.reason, fix)
        raise ContractError(shown, tuple(reading.faults)) from broken
    if reading.faults:
        where = place_of(target)
        raise ContractError(shown, tuple(attrs.evolve(fault, where=where) for fault in reading.faults))
    return FunctionSpec(
        name,
        version,
        plugin,
        distribution,
        target,
        reading.colour,
        is_a(target, type),
        reading.shape,
        tuple(reading.parameters),
        tuple(reading.dependencies),
        reading.result,
        noted,
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
        self.standing: dict[Any, Any] = {}  # what `Self` and type variables stand for in what is called

    def fault(self, reason: str, fix: str) -> None:
        self.faults.append(Fault("contract", self.plugin, self.name, reason, fix))

    def read(self, target: Any) -> None:
        innermost(target, wrapped=False)  # or there is no end of it, which `inspect` would never find out
        if is_a(target, type):
            if not self._constructor(target):
                return
            call = _call_of(target)
        elif callable(target):
            if (owner := _unbound(target)) is not None:
                self.fault(
                    f"it is a method of {owner}, and there is no object to call it on",
                    f"advertise the method of an object, as `{target.__name__} = {owner}(…).{target.__name__}` in its"
                    " module, or make it a static method",
                )
                return
            call = target
        else:
            kind = "a module" if is_a(target, types.ModuleType) else f"of type {named(type(target))}"
            self.fault(f"it is {kind}, which cannot be called", "give a function, or a class with `__call__`")
            return
        self._body(call)
        self.standing = _standing((target, _has_call(target)) if isinstance(target, type) else written_in(call))
        read = _signature(call)
        if read is None:
            self.shape = "opaque"
            self.notes.append("no signature to be had: the payload is passed unchecked as the one positional argument")
            return
        bound = _bound_keywords(call)
        for parameter in read.parameters.values():
            if parameter.kind is parameter.VAR_POSITIONAL:
                self._variadic(call, parameter, alone=len(read.parameters) == 1)
            elif parameter.name not in bound:
                self._parameter(call, parameter, is_a(target, type))
        self.result = self._evaluated(call, "return", read.return_annotation)
        if any(parameter.kind is parameter.kind.VAR_KEYWORD for parameter in self.parameters):
            self.shape = "many"
        else:
            self.shape = "none" if not self.parameters else "one" if len(self.parameters) == 1 else "many"

    def _body(self, call: Any) -> None:
        """Find the colour, and refuse generators."""
        plain = inspect.isroutine(call) or isinstance(call, functools.partial)
        inner = call if plain else getattr(call, "__call__", call)  # noqa: B004  # the method itself is wanted
        forms = (call,) if inner is call else (call, inner)
        for kind, test in (
            ("a generator function", inspect.isgeneratorfunction),
            ("an async generator function", inspect.isasyncgenfunction),
        ):
            if any(test(form) for form in forms):
                self.fault(f"it is {kind}, and a call has one result", "return a list, or a record with a cursor")
        if any(inspect.iscoroutinefunction(form) for form in forms):
            self.colour = Colour.ASYNC
        elif any(inspect.iscoroutinefunction(bare) for form in forms if (bare := innermost(form)) is not form):
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
            marker = self._marker(parameter, annotation, key_of(annotation).type)
            if marker is not None:
                self._dependency(parameter, annotation, marker)
            elif parameter.default is parameter.empty and parameter.kind not in _VARIADIC:
                self.fault(
                    f"the constructor parameter {parameter.name!r} is required and not injected",
                    "give it a default, or `= inject()`",
                )
        taken = {parameter.name for parameter in parameters}
        for base in cls.__mro__:
            for attribute in _marked(base):
                if taken.isdisjoint({attribute, attribute.lstrip("_")}):
                    self.fault(
                        f"{attribute!r} is `inject()`, but no constructor parameter takes it",
                        f"make {base.__qualname__} an attrs class or a dataclass",
                    )
        return True

    def _parameter(self, call: Any, parameter: inspect.Parameter, of_class: bool) -> None:
        annotation = self._evaluated(call, parameter.name, parameter.annotation)
        kind = key_of(annotation).type
        marker = self._marker(parameter, annotation, kind)
        if marker is not None:
            if of_class:
                field = f"{parameter.name}: {render(annotation)} = inject()"
                self.fault(
                    f"`__call__` has the injected parameter {parameter.name!r}: a class has its dependencies as fields",
                    f"move it to the class, as `{field}`",
                )
            else:
                self._dependency(parameter, annotation, marker)
            return
        self._unmarked(parameter, kind)
        try:
            with barrier("reading its annotation"):
                plan = draw(packed(annotation) if is_unpacked(annotation) else annotation)
                note = note_of(plan)
        except Broken as broken:
            annotation, plan, note = Any, draw(Any), f"{broken.reason}: taken as Any"
        if note is not None:
            shown = note if len(note) <= _REASON_LIMIT else f"{note[:_REASON_LIMIT]}…"
            self.notes.append(f"parameter {parameter.name!r}: {shown}")
        default = MISSING if parameter.default is parameter.empty else parameter.default
        self.parameters.append(Parameter(parameter.name, parameter.kind, annotation, default, plan))

    def _variadic(self, call: Any, parameter: inspect.Parameter, *, alone: bool) -> None:
        """Fill `*args` where there is nothing else to fill, and no author to ask for a list instead: in builtins."""
        if not alone:
            return
        if _is_builtin(call):
            self.parameters.append(Parameter(parameter.name, parameter.kind, list[Any], (), draw(list[Any])))
        else:
            self.notes.append(f"`*{parameter.name}` is never filled: take a list instead")

    def _marker(self, parameter: inspect.Parameter, annotation: Any, kind: Any) -> Inject | None:
        """Give what `inject()` says of a parameter; `Call` is injected without; None for what the payload fills."""
        marker = marker_of(parameter.default, annotation)
        if marker is inject:
            self.fault(f"{parameter.name!r} is marked with `inject`, the function itself", "write `inject()`")
            return Inject()
        if marker is None and kind is Call:
            return Inject()
        found: Inject | None = marker
        return found

    def _unmarked(self, parameter: inspect.Parameter, kind: Any) -> None:
        """Tell of a parameter that only injection can fill, and that does not ask for it."""
        if is_injectable(kind):
            mark = f"`{parameter.name}: {kind.__name__} = inject()`"
            if parameter.default is parameter.empty:
                reason = (
                    f"no payload can bring the {kind.__name__} {parameter.name!r}, and it is not marked as injected"
                )
                self.fault(reason, f"write {mark}")
            else:
                self.notes.append(
                    f"parameter {parameter.name!r}: it always has its default: to be injected, write {mark}"
                )

    def _dependency(self, parameter: inspect.Parameter, annotation: Any, marker: Inject) -> None:
        ordinary = parameter.default is not parameter.empty and not is_a(parameter.default, Inject)
        found = dependency(parameter.name, annotation, marker, defaulted=ordinary)
        if parameter.kind is parameter.POSITIONAL_ONLY:
            self.fault(
                f"the injected parameter {parameter.name!r} is positional-only",
                "put it after the `/`: dependencies are passed by keyword",
            )
        if not can_be_key(found.key.type):
            kind = named(found.key.type)
            self.fault(
                f"what is injected for {parameter.name!r} cannot be looked up: {kind} cannot be hashed and compared",
                "annotate a plain type",
            )
        elif is_open(found.key.type):
            self.fault(
                f"nothing says what the type variables of {found.key} stand for, injected for {parameter.name!r}",
                "annotate the very type, or advertise a subclass that says it",
            )
        elif found.key.type is object and found.key.name is None:
            self.fault(
                f"nothing says what to inject for {parameter.name!r}",
                "annotate it with a type that can be imported, or use `inject(name=…)`",
            )
        self.dependencies.append(found)

    def _evaluated(self, owner: Any, name: str, annotation: Any) -> Any:
        if annotation is inspect.Parameter.empty:
            return Any
        try:
            with barrier():
                read = evaluate(owner, name, annotation, anywhere=True)
                of_class = is_a(owner, type)
                found = substitute(read, _standing((owner, owner_of(owner, name))) if of_class else self.standing)
                if type(found) is not type:
                    key_of(found)  # so that whoever asks what it means gets an answer
        except Broken as problem:
            what = "the result" if name == "return" else f"parameter {name!r}"
            reason = problem.reason[:_REASON_LIMIT]
            self.notes.append(f"{what}: the annotation cannot be evaluated ({reason}): taken as Any")
            return Any
        return found


def _unbound(target: Any) -> str | None:
    """Name the class whose method a function is, if it is one that was taken from the class."""
    if not is_a(target, types.FunctionType):
        return None
    *outer, name = target.__qualname__.split(".")
    if not outer or outer[-1] == "<locals>":
        return None
    owner: Any = sys.modules.get(target.__module__)
    for step in outer:
        owner = inspect.getattr_static(owner, step, None)
    if isinstance(owner, type) and vars(owner).get(name) is not target:  # a static method, or one of another name
        return None
    code = getattr(innermost(target), "__code__", None)
    # Without a `self` the class is but a namespace for functions.
    return outer[-1] if code is not None and code.co_argcount and code.co_varnames[0] == "self" else None


def _is_builtin(call: Any) -> bool:
    """Tell a function or method that is not written in Python."""
    return inspect.isroutine(call) and not isinstance(call, types.FunctionType | types.MethodType)


def _signature(call: Any) -> inspect.Signature | None:
    """Give the signature; of a builtin without one, as `math.hypot` in Python 3.12, what its docstring begins with."""
    with contextlib.suppress(TypeError, ValueError):
        return signature(call)
    found = re.match(r"(\w+)\(\*(\w+)\)", getattr(call, "__doc__", None) or "") if _is_builtin(call) else None
    if found is None or found[1] != call.__name__:
        return None
    return inspect.Signature([inspect.Parameter(found[2], inspect.Parameter.VAR_POSITIONAL)])


def _marked(cls: type) -> list[str]:
    """Name the attributes that a class itself marks with `inject()`, by value or within the annotation."""
    found = [name for name, value in vars(cls).items() if is_a(value, Inject) or value is inject]
    for name, annotation in annotations(cls).items():
        with contextlib.suppress(Broken):  # where it is a parameter as well, that is noted there
            if marker_of(None, evaluate(cls, name, annotation)) is not None:
                found.append(name)
    return list(dict.fromkeys(found))


def _call_of(cls: type) -> Any:
    """Give `__call__` as an instance of the class would have it; `cls.__call__` may be the metaclass's."""
    found: Any = next((vars(base)["__call__"] for base in cls.__mro__ if "__call__" in vars(base)), None)
    try:
        return found.__get__(object(), cls)
    except (AttributeError, TypeError):  # an object that is called, or a method in C, which insists on its class
        return functools.partial(found, None) if inspect.isroutine(found) else found


def _standing(written: tuple[Any, type] | None) -> dict[Any, Any]:
    """Say what `Self` stands for in a class, and the type variables of the one that an annotation was written in."""
    if written is None:
        return {}
    cls, base = written
    return {**dict(lineage(cls)).get(base, {}), Self: cls}


def _has_call(cls: type) -> type:
    """Find the class that `__call__` was written in."""
    return next((base for base in cls.__mro__ if "__call__" in vars(base)), cls)


def _bound_keywords(call: Any) -> frozenset[str]:
    """Name what partials have bound: the caller of a function must not be able to replace it."""
    bound: frozenset[str] = frozenset()
    for layer in layers(call, wrapped=False):
        if isinstance(layer, functools.partial):
            bound |= layer.keywords.keys()
    return bound


def _summary(target: Any) -> str:
    try:
        with barrier("reading its docstring"):
            return _first_line(target)
    except Broken:  # no reason to lose a function
        return ""


def _first_line(target: Any) -> str:
    if not is_a(target, type):
        target = next(layer for layer in layers(target, wrapped=False) if not isinstance(layer, functools.partial))
    docs = [getattr(target, "__doc__", None) or inspect.getdoc(target)]  # which an overriding method inherits
    if is_a(target, type):
        generated = (docs[0] or "").startswith(f"{target.__name__}(")  # what `@dataclass` writes
        docs = [None if generated else target.__doc__, getattr(_call_of(target), "__doc__", None)]
    text = next((doc.strip() for doc in docs if isinstance(doc, str) and doc.strip()), "")
    return text.partition("\n")[0].expandtabs()[:_SUMMARY_LIMIT].strip()
