"""Generate the code that injects: one straight line of calls per function, compiled when the function is registered.

For `def score(loan, *, session, log)` with a singleton engine, a session per call and a constant logger the text is::

    def bind(target, MISSING, c0, f0, k0):
        def body(call, value):
            v0 = c0.value
            if v0 is MISSING:
                v0 = c0.get()
            v1 = f0(v0)
            return target(value, session=v1, log=k0)
        return body

Nothing in the text is specific to one function but the names of parameters: targets, factories, cells and constants
are bound by calling `bind`. The compiled `bind` is cached by its text, so that many functions of one shape cost one
compilation, and the cache keeps no function alive. Only a body with request-scoped generators has a `try`, and checks
the deadline within it, so that a transaction sees that its result comes too late.
"""

from collections.abc import Callable, Iterable, Mapping
from contextvars import copy_context
from functools import lru_cache
from inspect import Parameter
from keyword import iskeyword
from time import monotonic
from typing import Any, Final, Protocol

from jackfield.errors import DeadlineExceeded
from jackfield.injection.graph import Constant, Contextual, Source, ThisCall
from jackfield.injection.providers import Provider
from jackfield.injection.scope import Cell
from jackfield.injection.teardown import afinish, afirst, aunwind, finish, first, unwind, within
from jackfield.model.call import Call
from jackfield.model.spec import MISSING, Colour, Dependency, FunctionSpec

Body = Callable[[Call, Any], Any]
"""Takes the call and the converted payload; of an async function it gives a coroutine."""

FILENAME: Final = "<jackfield injection>"
"""What generated frames are called in tracebacks."""

_RUNTIME: Final[Mapping[str, Any]] = {
    "MISSING": MISSING,
    "DeadlineExceeded": DeadlineExceeded,
    "monotonic": monotonic,
    "copy_context": copy_context,
    "first": first,
    "afirst": afirst,
    "finish": finish,
    "afinish": afinish,
    "unwind": unwind,
    "aunwind": aunwind,
    "within": within,
}
_LATE: Final = (
    "if call.deadline is not None:",
    "    overdue = monotonic() - call.deadline",
    "    if overdue >= 0:",
    "        raise DeadlineExceeded(call.name, overdue, 'came back late')",
)


class Wiring(Protocol):
    """What dependencies resolve to at one moment."""

    def source(self, dependency: Dependency) -> Source | None:
        """Resolve a dependency; None if nothing is injected."""

    def cell(self, provider: Provider) -> Cell:
        """Give the place of a singleton."""
        ...

    def constant(self, kind: Any, plugin: str) -> Any:
        """Give a plugin's object of a contextual type."""


def invocation(spec: FunctionSpec, injected: Mapping[str, str]) -> str:
    """Render the call of a function as an expression.

    In it `target` is the callable and `value` the converted payload.

    Args:
        spec: the function.
        injected: parameter → expression, for each dependency that is passed.

    Returns:
        The source text; to be awaited if the function is async.

    Examples:
        >>> from jackfield.model.spec import Parameter as P
        >>> one = (P("x", Parameter.KEYWORD_ONLY),)
        >>> spec = FunctionSpec("f", "0", "", "", len, Colour.SYNC, shape="one", parameters=one)
        >>> invocation(spec, {"db": "v0"})
        'target(x=value, db=v0)'
    """
    passed = _keywords(injected)
    match spec.shape:
        case "none":
            payload = []
        case "many":
            payload = ["*value[0]", "**value[1]"]
        case "one" if spec.parameters[0].kind is Parameter.KEYWORD_ONLY:
            payload = _keywords({spec.parameters[0].name: "value"})
        case "one" if spec.parameters[0].kind is Parameter.VAR_KEYWORD:
            payload = ["**value"]
        case "one" if spec.parameters[0].kind is Parameter.VAR_POSITIONAL:
            payload = ["*value"]
        case _:
            payload = ["value"]
    if spec.per_call_instance:
        return f"target({', '.join(passed)})({', '.join(payload)})"
    return f"target({', '.join(payload + passed)})"


def compile_body(spec: FunctionSpec, wiring: Wiring) -> Body:
    """Generate and bind the body of a function that has no fault.

    Args:
        spec: the function.
        wiring: what its dependencies resolve to.

    Returns:
        `body(call, value)`; for an async function a coroutine function, to be run on the home loop.
    """
    writer = _Writer(spec, wiring)
    text = writer.text()
    body: Body = _compiled(text)(*writer.bound.values())
    return body


@lru_cache(maxsize=4096)
def _compiled(text: str) -> Callable[..., Any]:
    space: dict[str, Any] = dict(_RUNTIME)
    exec(compile(text, FILENAME, "exec"), space)  # noqa: S102  # our own text: of others only parameter names, checked
    bind: Callable[..., Any] = space["bind"]
    return bind


def _keywords(passed: Mapping[str, str]) -> list[str]:
    # A name that is no identifier, as an odd `__signature__` may have, must not become part of the text as it is.
    return [
        f"{name}={expression}"
        if name.isidentifier() and not iskeyword(name) and name != "__debug__"
        else f"**{{{name!r}: {expression}}}"
        for name, expression in passed.items()
    ]


def _indented(lines: Iterable[str], depth: int) -> list[str]:
    return [f"{'    ' * depth}{line}" for line in lines]


class _Writer:
    """Writes the body of one function."""

    def __init__(self, spec: FunctionSpec, wiring: Wiring) -> None:
        self.bound: dict[str, Any] = {"target": spec.target}
        self._spec = spec
        self._wiring = wiring
        self._asynchronous = spec.colour is Colour.ASYNC
        self._lines: list[str] = []
        self._variables: dict[Provider, str] = {}
        self._opened: list[Provider] = []
        self._try_from = 0

    def text(self) -> str:
        """Write the module text, and collect what it is bound to."""
        call = invocation(self._spec, self._arguments(self._spec.dependencies, self._spec.plugin))
        call = f"await {call}" if self._asynchronous else call
        prefix = "async def" if self._asynchronous else "def"
        if not self._opened:
            body = [f"{prefix} body(call, value):", *_indented([*self._lines, f"return {call}"], 1)]
        else:
            body = self._with_generators(call, prefix)
        return "\n".join([f"def bind({', '.join(self.bound)}):", *_indented([*body, "return body"], 1)])

    def _with_generators(self, call: str, prefix: str) -> list[str]:
        self.bound["providers"] = tuple(self._opened)
        closing = [
            f"await afinish(providers[{index}], opened.pop())"
            if provider.colour is Colour.ASYNC
            else f"finish(providers[{index}], opened.pop())"
            for index, provider in reversed(list(enumerate(self._opened)))
        ]
        inner = [
            *self._lines[: self._try_from],
            "opened = []",
            "try:",
            *_indented([*self._lines[self._try_from :], f"result = {call}", *_LATE, *closing], 1),
            "except BaseException as error:",
        ]
        if self._asynchronous:
            return [
                "async def inner(call, value, context):",
                *_indented(
                    [*inner, "    await aunwind(providers, opened, error, context)", "    raise", "return result"], 1
                ),
                "async def body(call, value):",
                "    context = copy_context()",
                "    return await within(context, inner(call, value, context))",
            ]
        return [
            "def inner(call, value):",
            *_indented([*inner, "    unwind(providers, opened, error)", "    raise", "return result"], 1),
            f"{prefix} body(call, value):",
            "    return copy_context().run(inner, call, value)",
        ]

    def _bind(self, prefix: str, value: Any) -> str:
        name = f"{prefix}{len(self.bound)}"
        self.bound[name] = value
        return name

    def _arguments(self, dependencies: Iterable[Dependency], plugin: str) -> dict[str, str]:
        """Write what makes the dependencies; give parameter → expression. What is left out has a default of its own."""
        passed = {}
        for dependency in dependencies:
            source = self._wiring.source(dependency)
            if source is not None:
                passed[dependency.parameter] = self._expression(source, plugin)
            elif dependency.optional:
                passed[dependency.parameter] = "None"
        return passed

    def _passed(self, provider: Provider) -> str:
        passed = self._arguments(provider.dependencies, provider.plugin)
        by_position = []
        for dependency in provider.dependencies[: provider.positional]:
            if dependency.parameter not in passed:
                break
            by_position.append(passed.pop(dependency.parameter))
        return ", ".join([*by_position, *_keywords(passed)])

    def _expression(self, source: Source, plugin: str) -> str:
        match source:
            case ThisCall():
                return "call"
            case Constant():
                return self._bind("k", source.value)
            case Contextual():
                return self._bind("k", self._wiring.constant(source.type, plugin))
        if source not in self._variables:
            self._variables[source] = self._provided(source)
        return self._variables[source]

    def _provided(self, provider: Provider) -> str:
        if provider.value is not MISSING:
            return self._bind("k", provider.value)
        if provider.scope == "singleton":
            cell = self._bind("c", self._wiring.cell(provider))
            variable = f"v{len(self._variables)}"
            get = f"await {cell}.aget()" if self._asynchronous else f"{cell}.get()"
            self._lines += [f"{variable} = {cell}.value", f"if {variable} is MISSING:", f"    {variable} = {get}"]
            return variable
        passed = self._passed(provider)
        variable = f"v{len(self._variables)}"
        made = f"{self._bind('f', provider.factory)}({passed})"
        waits = "await " if provider.colour is Colour.ASYNC else ""
        if not provider.generator:
            self._lines.append(f"{variable} = {waits}{made}")
            return variable
        if not self._opened:
            self._try_from = len(self._lines)
        begin = "await afirst" if provider.colour is Colour.ASYNC else "first"
        self._lines += [
            f"generator = {made}",
            f"{variable} = {begin}(providers[{len(self._opened)}], generator)",
            "opened.append(generator)",
        ]
        self._opened.append(provider)
        return variable
