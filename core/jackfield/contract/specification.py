"""A callable → its `FunctionSpec`, or every fault of it at once."""

import contextlib
import functools
import inspect
import re
import sys
import types
from typing import Any, Final, Self

from jackfield.contract.payload import draw, note_of
from jackfield.contract.shapes import is_unpacked, packed, render, substitute
from jackfield.decorators import Inject, dependency, key_of, noted_policy
from jackfield.errors import ContractError, Fault
from jackfield.injection.hints import Unreadable, evaluate, signature
from jackfield.model.call import Call
from jackfield.model.names import NAME_LIMIT, name_fault, version_fault
from jackfield.model.spec import MISSING, Colour, Dependency, FunctionSpec, Parameter, PayloadShape, Policy

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
        policy if policy is not None else noted_policy(target),
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
        self.owner: type | None = None  # what `Self` is

    def fault(self, reason: str, fix: str) -> None:
        self.faults.append(Fault("contract", self.plugin, self.name, reason, fix))

    def read(self, target: Any) -> None:
        if isinstance(target, type):
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
            kind = "a module" if isinstance(target, types.ModuleType) else f"of type {type(target).__name__}"
            self.fault(f"it is {kind}, which cannot be called", "advertise a function or a class with `__call__`")
            return
        self._body(call)
        self.owner = target if isinstance(target, type) else _owner(call)
        read = _signature(call)
        if read is None:
            self.shape = "opaque"
            self.notes.append("no signature to be had: the payload is passed unchecked as the one positional argument")
            return
        for parameter in read.parameters.values():
            if parameter.kind is parameter.VAR_POSITIONAL:
                self._variadic(call, parameter, alone=len(read.parameters) == 1)
            elif parameter.name not in _bound_keywords(call):
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
        forms = (call,) if inner is call else (call, inner)
        for kind, test in (
            ("a generator function", inspect.isgeneratorfunction),
            ("an async generator function", inspect.isasyncgenfunction),
        ):
            if any(test(form) for form in forms):
                self.fault(f"it is {kind}, and a call has one result", "return a list, or a record with a cursor")
        if any(inspect.iscoroutinefunction(form) for form in forms):
            self.colour = Colour.ASYNC
        elif any(inspect.iscoroutinefunction(bare) for form in forms if (bare := _unwrapped(form)) is not form):
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
        plan = draw(packed(annotation) if is_unpacked(annotation) else annotation)
        if (note := note_of(plan)) is not None:
            self.notes.append(f"parameter {parameter.name!r}: {note}")
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
            read = evaluate(owner, name, annotation, anywhere=True)
            found = substitute(read, {Self: self.owner} if self.owner is not None else {})
            key_of(found)  # so that nobody need ask again whether it is a type at all
        except Exception as problem:  # noqa: BLE001  # an annotation may be any object
            what = "the result" if name == "return" else f"parameter {name!r}"
            said = str(problem) if isinstance(problem, Unreadable) else f"{type(problem).__name__} while it is read"
            self.notes.append(f"{what}: the annotation cannot be evaluated ({said[:_REASON_LIMIT]}): taken as Any")
            return Any
        return found


def _unbound(target: Any) -> str | None:
    """Name the class whose method a function is, if it is one that was taken from the class."""
    if not isinstance(target, types.FunctionType):
        return None
    *outer, name = target.__qualname__.split(".")
    if not outer or outer[-1] == "<locals>":
        return None
    owner: Any = sys.modules.get(target.__module__)
    for step in outer:
        owner = inspect.getattr_static(owner, step, None)
    if isinstance(owner, type) and vars(owner).get(name) is not target:  # a static method, or one of another name
        return None
    code = getattr(_unwrapped(target), "__code__", None)
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


def _call_of(cls: type) -> Any:
    """Give `__call__` as an instance of the class would have it; `cls.__call__` may be the metaclass's."""
    found: Any = next((vars(base)["__call__"] for base in cls.__mro__ if "__call__" in vars(base)), None)
    try:
        return found.__get__(object(), cls)
    except (AttributeError, TypeError):  # an object that is called, or a method in C, which insists on its class
        return functools.partial(found, None) if inspect.isroutine(found) else found


def _owner(call: Any) -> type | None:
    """Give the class whose method it is; None for a function."""
    while isinstance(call, functools.partial):
        call = call.func
    owner = getattr(call, "__self__", None)
    if owner is None or isinstance(owner, type | types.ModuleType):
        return owner if isinstance(owner, type) else None
    return type(owner)


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


def _summary(target: Any) -> str:
    while isinstance(target, functools.partial):
        target = target.func
    docs = [inspect.getdoc(target)]
    if isinstance(target, type):
        generated = (docs[0] or "").startswith(f"{target.__name__}(")  # what `@dataclass` writes
        docs = [None if generated else target.__doc__, getattr(_call_of(target), "__doc__", None)]
    text = next((doc.strip() for doc in docs if isinstance(doc, str) and doc.strip()), "")
    return text.partition("\n")[0][:_SUMMARY_LIMIT]
