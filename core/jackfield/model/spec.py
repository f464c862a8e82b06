"""What loading learns of a function: `FunctionSpec` and its parts."""

import inspect
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, Final, Literal, get_args, get_origin

import attrs

from jackfield.model.generics import is_union
from jackfield.model.retry import RetryPolicy
from jackfield.strangers import Broken, barrier, is_a, named


class Missing:
    """The type of `MISSING`."""

    def __repr__(self) -> str:
        """Show the name."""
        return "MISSING"


MISSING: Final = Missing()
"""No default, no value."""


class Colour(StrEnum):
    """Whether calling the function gives a result or an awaitable of one."""

    SYNC = "sync"
    ASYNC = "async"


@attrs.frozen
class Policy:
    """How a function wants to be run; set by `@function(...)` or by configuration, never needed.

    Attributes:
        timeout: seconds that one call may take, or None.
        executor: `inline`, `thread`, … or None for the host's choice by colour.
        idempotent: whether calling twice does what calling once does, so that a lost call may be tried again.
        retry: how its direct calls are tried again where that is worth it, or None for one attempt; by configuration
            alone.
    """

    timeout: float | None = None
    executor: str | None = None
    idempotent: bool = False
    retry: RetryPolicy | None = None


@attrs.frozen
class Key:
    """What a dependency is looked up by.

    Attributes:
        type: the annotated type, with `| None` and `Annotated` taken off; `object` when only the name counts.
        name: the provider's name, or None for the type's unnamed provider.
    """

    type: Any
    name: str | None = None

    def __str__(self) -> str:
        """Render as `Database`, `list[Database]` or `Logger 'app-logger'`."""
        shown = _shown(self.type)
        return f"{shown} {self.name!r}" if self.name is not None else shown


def _shown(kind: Any) -> str:
    if is_a(kind, type) and type(kind) is type:
        return named(kind)
    try:
        with barrier():
            return _spelled(kind)
    except Broken:
        return named(kind)


def _spelled(kind: Any) -> str:
    origin, arguments = get_origin(kind), get_args(kind)
    if is_union(kind):
        return " | ".join(_shown(member) for member in arguments)
    if origin is None or origin is Literal or not arguments:
        return "..." if kind is Ellipsis else getattr(kind, "__qualname__", None) or str(kind)
    return f"{_shown(origin)}[{', '.join(_shown(argument) for argument in arguments)}]"


@attrs.frozen
class Dependency:
    """One injected parameter or field.

    Attributes:
        parameter: the keyword it is passed by.
        key: what is injected.
        optional: inject None when nothing provides it.
        defaulted: whether it has a default of its own, which it keeps when nothing provides it.
    """

    parameter: str
    key: Key
    optional: bool = False
    defaulted: bool = attrs.field(default=False, eq=False, repr=False)


@attrs.frozen
class Parameter:
    """One parameter that the payload fills.

    Attributes:
        name: as written.
        kind: the kind that `inspect.Parameter` gives it.
        annotation: the evaluated annotation, `Any` when there is none or it cannot be evaluated.
        default: `MISSING` when it is required.
        plan: how values of the annotation are taken in, as far as it was worked out when the contract was read.
    """

    name: str
    kind: inspect._ParameterKind
    annotation: Any = Any
    default: Any = MISSING
    plan: Any = attrs.field(default=None, repr=False, eq=False)


PayloadShape = Literal["none", "one", "many", "opaque"]


@attrs.frozen
class RemoteContract:
    """The contract of a function that runs in another process, whose types are there; or of a flow, which has none.

    Attributes:
        payload: JSON Schema of what it takes.
        result: JSON Schema of what it gives.
        parameters: those that the payload fills, for people.
        returns: the type of the result, for people.
        dependencies: what is injected there, for people.
        place: where it is defined, as `file:line`; "" if nobody knows.
    """

    payload: Mapping[str, Any]
    result: Mapping[str, Any]
    parameters: tuple[str, ...] = ()
    returns: str = ""
    dependencies: tuple[str, ...] = ()
    place: str = ""


@attrs.frozen(eq=False)
class FunctionSpec:
    """All that loading learned of a function. Two specs are never equal: each registration is its own.

    Attributes:
        name: the dotted name it is called by.
        version: its plugin's version, else "0".
        plugin: the plugin it belongs to; "" for one registered by hand.
        distribution: the installed distribution it came from, "" if none.
        target: the callable: a function, or a class whose instances are called.
        colour: sync or async.
        per_call_instance: whether `target` is a class, instantiated with its dependencies for every call.
        shape: how the payload meets the parameters: `none` takes none, `one` is that parameter's value, `many` is a
            record of them, `opaque` is passed as the one positional argument because the callable has no signature to
            be had.
        parameters: those that the payload fills, in order.
        dependencies: those that are injected.
        result: the annotated result type, `Any` when unknown.
        policy: how it wants to be run.
        summary: the first line of its docstring.
        notes: what `pluginctl check` says of it although it is no fault: annotations that could not be evaluated and
            the like.
        remote: its contract, when it runs in another process or is a flow, so that it gives plain data; `parameters`
            have no types then.
    """

    name: str
    version: str
    plugin: str
    distribution: str
    target: Callable[..., Any]
    colour: Colour
    per_call_instance: bool = False
    shape: PayloadShape = "none"
    parameters: tuple[Parameter, ...] = ()
    dependencies: tuple[Dependency, ...] = ()
    result: Any = Any
    policy: Policy = Policy()
    summary: str = ""
    notes: tuple[str, ...] = ()
    remote: RemoteContract | None = None

    @property
    def key(self) -> str:
        """`name@version`, the key of every map, metric and cache."""
        return f"{self.name}@{self.version}"

    @property
    def payload(self) -> Any:
        """The payload's type: the one parameter's, `dict` for a record of several, `None` for none, else `Any`."""
        match self.shape:
            case "one":
                return self.parameters[0].annotation
            case "many":
                return dict[str, Any]
            case "none":
                return None
            case _:
                return Any

    def __repr__(self) -> str:
        """Show the key and the plugin."""
        return f"FunctionSpec({self.key}, plugin={self.plugin!r})"
