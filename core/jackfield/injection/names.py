"""Names in annotations that are not defined where the annotation is: for type checkers only, or behind a wrapper.

An annotation in a string means what it means to a type checker, which reads `if TYPE_CHECKING:` blocks, and knows
nothing of the module that a decorator happens to be defined in. So a name that is missing is looked for in the module
that a callable says it is of (`functools.wraps` copies that together with the annotations), in what it wraps, and in
the `if TYPE_CHECKING:` blocks of these modules. Nothing is looked for, and no source is read, before a name is missing.
"""

import ast
import linecache
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import ModuleType
from typing import Any, Final, TypeVar
from weakref import WeakKeyDictionary

import attrs

from jackfield.model.place import place_of
from jackfield.strangers import layers

T = TypeVar("T")

_NAMES: Final = 50  # of one annotation

_blocks: "WeakKeyDictionary[ModuleType, _Block]" = WeakKeyDictionary()


class NotFound(NameError):
    """A name is defined nowhere, or for type checkers only. Its text says where that is and what to do."""


def with_names(read: Callable[[Mapping[str, Any]], T], owner: Any) -> T:
    """Evaluate an annotation, with the names that turn out to be missing.

    Args:
        read: evaluates it, given further names.
        owner: the callable or class whose annotation it is.

    Returns:
        What `read` gives.

    Raises:
        NotFound: when a name is nowhere to be found.
        Exception: whatever else `read` raises.
    """
    found: dict[str, Any] = {}
    for _ in range(_NAMES):
        try:
            return read(found)
        except NameError as error:
            name = error.name
            if isinstance(error, NotFound) or not name or name in found:
                raise
            found[name] = _look(name, owner)
    return read(found)


def _look(name: str, owner: Any) -> Any:
    modules = []
    for layer in _layers(owner):
        for module in _modules(layer):
            if name in vars(module):
                return vars(module)[name]
            modules.append(module)
    for module in dict.fromkeys(modules):
        block = _block(module)
        if name in block.statements:
            return block.value(name)
    where = f" at {place}" if (place := place_of(owner)) else ""
    raise NotFound(f"name {name!r} is not defined{where}; define or import it there, at module level")


def _layers(owner: Any) -> Iterable[Any]:
    """Give a callable and what it wraps; a class and its bases."""
    return owner.__mro__[:-1] if isinstance(owner, type) else layers(owner)


def _modules(layer: Any) -> Iterator[ModuleType]:
    """Give the module that a layer says it is of, and the one that it is defined in."""
    function = layer if hasattr(layer, "__globals__") else getattr(type(layer), "__call__", None)  # noqa: B004
    names = (getattr(layer, "__module__", None), getattr(function, "__globals__", {}).get("__name__"))
    for name in dict.fromkeys(names):
        module = sys.modules.get(name) if isinstance(name, str) else None
        if isinstance(module, ModuleType):
            yield module


def _block(module: ModuleType) -> "_Block":
    file = getattr(module, "__file__", None) or ""
    source = "".join(linecache.getlines(file, vars(module))) if file else ""
    known = _blocks.get(module)
    if known is None or known.source != source:
        known = _blocks[module] = _Block(vars(module), file, source, dict(_guarded(source)))
    return known


def _guarded(source: str) -> Iterator[tuple[str, ast.stmt]]:
    """Give the names that are bound for type checkers only, each with its statement."""
    try:
        body = ast.parse(source).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    for statement in body:
        if isinstance(statement, ast.If) and ast.unparse(statement.test).rpartition(".")[2] == "TYPE_CHECKING":
            yield from _bindings(statement.body)


def _bindings(body: Iterable[ast.stmt]) -> Iterator[tuple[str, ast.stmt]]:
    for statement in body:
        match statement:
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                for alias in names:  # each alone: another one of the same statement may not be there
                    parts = {**dict(ast.iter_fields(statement)), "names": [alias]}
                    yield (
                        alias.asname or alias.name.partition(".")[0],
                        ast.copy_location(type(statement)(**parts), alias),
                    )
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr()):
                yield name, statement
            case ast.ClassDef(name=name):
                yield name, statement
            case ast.If(body=inner, orelse=other):
                yield from _bindings([*inner, *other])
            case ast.Try(body=inner):
                yield from _bindings(inner)
            case ast.stmt() if type(statement).__name__ == "TypeAlias":  # from Python 3.12 on
                yield statement.name.id, statement  # type: ignore[attr-defined]


@attrs.define(eq=False)
class _Block:
    """The `if TYPE_CHECKING:` blocks of one module. It refers to the module's names, and so must not outlive it."""

    names: dict[str, Any] = attrs.field(repr=False)
    file: str
    source: str = attrs.field(repr=False)
    statements: Mapping[str, ast.stmt] = attrs.field(repr=False)
    values: dict[str, Any] = attrs.field(factory=dict, repr=False)

    def value(self, name: str) -> Any:
        """Carry out the statement that binds a name, and give what it is bound to; the module stays as it is."""
        if name not in self.values:
            statement = self.statements[name]
            code = compile(ast.Module([statement], []), self.file, "exec")

            def run(found: Mapping[str, Any]) -> Any:
                space = {**self.names, **found}
                exec(code, space)  # noqa: S102  # the author's own statement, as a type checker reads it
                return space[name]

            try:
                self.values[name] = self._run(run, name)
            except Exception as error:
                raise NotFound(
                    f"name {name!r} is there for type checkers only, at {self.file}:{statement.lineno}, and"
                    f" {type(error).__name__} is raised where it is tried: {error}; bind it outside of"
                    " `if TYPE_CHECKING:`"
                ) from error
        return self.values[name]

    def _run(self, run: Callable[[Mapping[str, Any]], Any], name: str) -> Any:
        found: dict[str, Any] = {}
        for _ in range(_NAMES):
            try:
                return run(found)
            except NameError as error:
                missing = str(error.name)
                if missing not in self.statements or missing in found or missing == name:
                    raise
                found[missing] = self.value(missing)
        raise NameError(name)
