"""A Python file on the command line, in the place of an installed function: `./file.py:function`, without packaging."""

import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import attrs

from jackfield.cli.output import columns, counted
from jackfield.cli.paths import behind_the_standard_library
from jackfield.errors import Fault, FunctionCrashed, JackfieldError, PluginError

if TYPE_CHECKING:
    from jackfield.host import Host
    from jackfield.ports import Observer

_INIT: Final = "__init__.py"
_SHOWN: Final = 12  # functions that an error lists


class Given(NamedTuple):
    """A file or folder that was given in the place of a name.

    Attributes:
        shown: the file or folder, as it was given.
        attribute: what of it is meant, as in `greet` or `Tax.vat`; "" for all.
        root: the file; of a file in a package the outermost package's folder, and of a folder the same.
        module: what its author calls the module, as in `greet` or `billing.tax`.
    """

    shown: str
    attribute: str
    root: Path
    module: str

    @property
    def plugin(self) -> str:
        """What the plugin is called that is made of it."""
        return re.sub(r"\W+", "-", self.module.partition(".")[0], flags=re.ASCII).strip("-_") or "file"

    def name(self, attribute: str) -> str:
        """Give the name that a function of it is called by."""
        module = ".".join(re.sub(r"\W", "_", part, flags=re.ASCII) for part in self.module.split("."))
        return f"{module}.{attribute}"

    def spelt(self, name: str) -> str:
        """Give a function of it, by the name that it is called by, as it is given; any other name as it is."""
        known, _, _ = name.partition("@")
        module = self.name("")
        return f"{self.shown}:{known.removeprefix(module)}" if known.startswith(module) else name


def given(text: str) -> Given | None:
    """Tell whether an argument names a file or folder, by its spelling alone; None when it is a function's name.

    A file of a package is one of its modules, so that `from . import …` works in it.

    Args:
        text: `./file.py:function`, `file.py:function`, `./folder:function`, or one of these without the function.
    """
    path, colon, attribute = text.rpartition(":")
    if not colon or "/" in attribute or os.sep in attribute:  # no colon, or a drive letter's
        path, attribute = text, ""
    if not (path.endswith(".py") or "/" in path or os.sep in path or path in (".", "..")):
        return None
    file = Path(path).absolute()
    folder = file if file.is_dir() or file.suffix != ".py" else file.parent
    parts = [] if folder == file or file.name == _INIT else [file.stem]
    if (folder / _INIT).is_file():
        while True:
            parts.insert(0, folder.name)
            if not (folder.parent / _INIT).is_file():
                break
            folder = folder.parent
        return Given(path, attribute, folder, ".".join(parts))
    return Given(path, attribute, file, file.stem)


class Opened(NamedTuple):
    """A host that has a file's providers and functions, beside what is installed.

    Attributes:
        host: not started.
        module: the file's module; None when it could not be imported.
        faults: why not, or what else of it cannot be used.
    """

    host: "Host"
    module: ModuleType | None
    faults: tuple[Fault, ...]


def open_file(file: Given, observers: "tuple[Observer, ...]" = ()) -> Opened:
    """Make a host of a file, as one with `path = "./file.py"` in its configuration, and import the file in this thread.

    Args:
        file: which.
        observers: of the host.

    Raises:
        PluginError: when there is no such file.
    """
    from jackfield.config import Configuration, PluginConfig
    from jackfield.host import Host

    if (gone := missing(file)) is not None:
        raise PluginError(file.plugin, gone.stage, gone.reason, gone.fix, (gone,))
    behind_the_standard_library(str(file.root.parent))
    plugin = PluginConfig(file.plugin, str(file.root), import_in="main")
    configuration = Configuration(file.root, {file.plugin: plugin}, discover=True, lazy=True)
    host = Host.from_config(configuration, observers=observers)
    faults = tuple(fault for fault in host.faults if fault.plugin == file.plugin)
    try:
        module = _module(file)
    except PluginError as error:  # one of a package's modules
        return Opened(host, None, error.faults)
    if module is not None:
        names = {file.name(attribute) for attribute in callables(module)}
        # What is not marked is taken all the same, and each function is told of when it is registered.
        faults = tuple(one for one in faults if one.stage != "source" and one.entry.partition("@")[0] not in names)
        if not file.attribute and not names and not _offers(module):  # nothing checked is not nothing wrong
            faults = (*faults, _bare(file))
        if _depends(file, module):
            _provide(host, file)
    return Opened(host, module, faults)


def callables(module: ModuleType) -> Mapping[str, Any]:
    """Find what can be called of a file: what `@function` marks, else all public functions and classes of its own.

    Args:
        module: the file's.
    """
    from jackfield.plugins.loading import marks

    return dict(marks.functions(module)) or dict(_public(module))


def register(file: Given, host: "Host", module: ModuleType, attribute: str) -> str:
    """Make a function of a file callable, marked or not.

    Args:
        file: which.
        host: that was made of it.
        module: its module.
        attribute: the function's name in the file.

    Returns:
        The name to call it by.

    Raises:
        JackfieldError: with what is wrong with it.
    """
    target = _fetch(file, module, attribute)
    name = file.name(attribute)
    if name not in host.snapshot.functions:
        host.register(name, target, plugin=file.plugin)
    return name


def refusal(file: Given, faults: tuple[Fault, ...]) -> str:
    """Say in one line why a file cannot be used."""
    first = faults[0] if faults else Fault("import", "", file.shown, "it could not be imported")
    of = f":{file.attribute}" if file.attribute and first.entry == file.name(file.attribute) else ""
    where = f" ({first.where})" if first.where else ""
    fix = f" → {first.fix}" if first.fix else ""
    return f"{file.shown}{of}: {first.reason}{where}{fix}"


def as_given(file: Given, error: JackfieldError) -> JackfieldError:
    """Have an error name the functions of a file as its reader does, by the file.

    Args:
        file: which.
        error: of one of its functions; it is changed.
    """
    function = getattr(error, "function", "")
    if (spelt := file.spelt(function)) != function:
        error.function = spelt  # type: ignore[attr-defined]  # it has one
        if isinstance(error, FunctionCrashed):
            error.plugin = ""
    if error.faults:
        spellings = ((fault, file.spelt(fault.entry)) for fault in error.faults)
        error.faults = tuple(
            fault if entry == fault.entry else attrs.evolve(fault, entry=entry, plugin="") for fault, entry in spellings
        )
    return error


def listing(file: Given, module: ModuleType) -> list[str]:
    """Say what can be called of a file, a line for each function.

    Args:
        file: which.
        module: its module.
    """
    found = callables(module)
    if not found:
        return [refusal(file, (_bare(file),))]
    rows = [(f"  {file.shown}:{name}", _signature(file, name, target)) for name, target in found.items()]
    return [f"{file.shown} has {counted(len(found), 'function')}; call one of them by name:", *columns(rows)]


def missing(file: Given) -> Fault | None:
    """Say that there is no such file, or that it is neither a Python file nor a package."""
    named = Path(file.shown)
    if not named.exists():
        folder = named.parent
        near = [each.name for each in folder.iterdir()] if folder.is_dir() else []
        close = get_close_matches(named.name, near)
        fix = (
            f"did you mean {' or '.join(repr(str(folder / name)) for name in close)}?" if close else "correct its path"
        )
        return Fault("source", "", file.shown, "there is no such file or folder", fix)
    if named.is_file() and named.suffix != ".py":
        return Fault("source", "", file.shown, "it is no Python file", "give the path of a `.py` file or of a package")
    if (named / "pyproject.toml").is_file() and not (named / _INIT).is_file():
        fix = "install it with `pip install -e`, and give its name; or give the path of one of its `.py` files"
        return Fault("source", "", file.shown, "it is a project, not a package", fix)
    if named.is_dir() and not (named / _INIT).is_file():  # before all that is in it is read
        fix = f"give the path of one of its `.py` files, as in {os.path.join(file.shown, 'file.py')}"  # noqa: PTH118  # a text
        return Fault("source", "", file.shown, f"it is no package: it has no {_INIT}", fix)
    return None


def _module(file: Given) -> ModuleType | None:
    """Find the module that the host has made of a file; import it when it is one of a package's."""
    from jackfield.plugins.barrier import Modules
    from jackfield.plugins.loading.importer import PREFIX

    own = str((file.root / _INIT if file.root.is_dir() else file.root).resolve())
    for name, module in list(sys.modules.items()):
        if name.startswith(PREFIX) and "." not in name and _file_of(module) == own:
            return Modules(file.plugin, name, file.module.partition(".")[0]).module(file.module)
    return None


def _public(module: ModuleType) -> Iterator[tuple[str, Any]]:
    from jackfield.plugins.loading import marks

    others = {id(value) for _, value in (*marks.providers(module), *marks.hooks(module))}
    for name, value in marks.callables(module):
        if not name.startswith("_") and id(value) not in others:
            yield name, value


def _fetch(file: Given, module: ModuleType, path: str) -> Any:
    from jackfield.model.names import close_names
    from jackfield.plugins.barrier import refuse

    value: Any = module
    for name in path.split("."):
        owner = value
        try:
            value = getattr(owner, name)
        except AttributeError:
            known = [*callables(module)] if owner is module else [*getattr(owner, "__dict__", ())]
            known = [each for each in known if not each.startswith("_")]
            if close := close_names(name, known):
                fix = f"did you mean {' or '.join(map(repr, close))}?"
            else:
                fix = f"there is {', '.join(known[:_SHOWN])}" if known else _elsewhere(file)
            refuse(file.plugin, "attribute", f"it has no function {path[:80]!r}", fix)
    return value


def _depends(file: Given, module: ModuleType) -> bool:
    """Tell whether anything of a file is to be injected."""
    from jackfield.contract import specify
    from jackfield.errors import ContractError
    from jackfield.plugins.loading import marks

    for name, target in callables(module).items():
        with suppress(ContractError):
            if specify(file.name(name), target).dependencies:
                return True
    return any(marks.providers(module))


def _provide(host: "Host", file: Given) -> None:
    """Bring in what the other modules of a package provide, then what is installed; the nearest wins.

    What of that is faulty is the business of a check of that package.
    """
    from jackfield.cli.entries import read_catalogue
    from jackfield.injection.providers import describe
    from jackfield.plugins.discovery import PROVIDERS, load
    from jackfield.plugins.loading import marks

    def take(factory: Any, plugin: str) -> None:
        key = describe(factory, plugin=plugin).key
        if key not in taken:
            taken.add(key)
            host.provide(factory, plugin=plugin)

    taken = set()
    own = [module for module in list(sys.modules.values()) if _is_of(module, file)]
    for number, module in enumerate(own):
        for _, factory in marks.providers(module):
            with suppress(JackfieldError):
                if number == 0:  # the host has read it itself
                    taken.add(describe(factory, plugin=file.plugin).key)
                else:
                    take(factory, file.plugin)
    for candidate in read_catalogue().group(PROVIDERS):
        with suppress(JackfieldError):
            take(load(candidate), candidate.plugin)


def _is_of(module: object, file: Given) -> bool:
    """Tell whether a module is the file, or one of the package's."""
    where, root = _file_of(module), str(file.root.resolve())
    return where is not None and (where == root or where.startswith(f"{root}{os.sep}"))


def _file_of(module: object) -> str | None:
    """Give the file of what stands in `sys.modules`, which may be any object."""
    where = vars(module).get("__file__") if type(module) is ModuleType else None
    return where if type(where) is str else None


def _offers(module: ModuleType) -> bool:
    """Tell whether a file without functions has what a project may need it for: providers, hooks, a plugin's class."""
    from jackfield.plugins.loading import marks

    classes = (value for value in vars(module).values() if isinstance(value, type))
    own = any(value.__module__ == module.__name__ for value in classes)
    return own or any(marks.providers(module)) or any(marks.hooks(module))


def _bare(file: Given) -> Fault:
    """Say that a file has nothing that could be called."""
    return Fault("attribute", "", file.shown, "there is no function in it that could be called", _elsewhere(file))


def _elsewhere(file: Given) -> str:
    if Path(file.shown).is_dir():
        return f"name the file that has it, as in {os.path.join(file.shown, 'module.py')}:function"  # noqa: PTH118  # a text
    return "define one at the top of the file"


def _signature(file: Given, name: str, target: Any) -> str:
    """Render what a caller gives, and the first line of what the author says; or why it cannot be called."""
    from jackfield.contract import specify
    from jackfield.errors import ContractError
    from jackfield.wire.signature import shown_parameters, shown_result

    try:
        spec = specify(file.name(name), target)
    except ContractError as error:
        return f"cannot be called: {error.faults[0].reason}"
    return f"({', '.join(shown_parameters(spec))}) -> {shown_result(spec)}  {spec.summary}".rstrip()
