"""Import what a candidate refers to, with a barrier around the plugin's code."""

import importlib
import sys
import traceback
from types import FunctionType, ModuleType
from typing import Any, NoReturn

from jackfield.errors import Fault, PluginError
from jackfield.model.names import close_names
from jackfield.plugins.discovery.catalogue import Candidate
from jackfield.plugins.discovery.entries import printable, shown, split_reference


def load(candidate: Candidate) -> Any:
    """Import a candidate's module and fetch the attribute it names.

    The first load executes the module, under the import system's own lock: threads that come together execute it once.
    What a failed import left half-made in `sys.modules` is dropped, so that no later load is served from it.

    Args:
        candidate: one that `scan` found, or one made from a configuration.

    Returns:
        The object, or the module when the candidate names no attribute.

    Raises:
        PluginError: stage `reference` when the value is not an object reference; `import` when the module raises
            anything but KeyboardInterrupt, SystemExit included; `attribute` when the module does not have it. The
            original is `__cause__`.
    """
    reference = split_reference(candidate.value)
    if reference is None:
        fix = "write `package.module:attribute`"
        _refuse(candidate, "reference", f"({shown(candidate.value)}) is not an object reference", fix)
    module, attributes = reference
    found: Any = _imported(candidate, module)
    for attribute in attributes:
        found = _fetched(candidate, found, attribute)
    return found


def _imported(candidate: Candidate, module: str) -> ModuleType:
    before = frozenset(sys.modules)
    try:
        return importlib.import_module(module)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001  # the barrier: a plugin that exits when imported must not end the host
        _drop_half_made(error, before)
        where = _where(error, module)
        reason = f"importing {module} raised {_described(error)}{where}"
        _refuse(candidate, "import", reason, _import_fix(candidate, module, error), error)


def _fetched(candidate: Candidate, owner: Any, attribute: str) -> Any:
    name = getattr(owner, "__name__", type(owner).__name__)
    try:
        return getattr(owner, attribute)
    except KeyboardInterrupt:
        raise
    except AttributeError as error:
        reason = f"{name} has no attribute {attribute!r}"
        # `vars`, not `dir`, which runs the plugin's code if it defines `__dir__`.
        close = close_names(attribute, [one for one in getattr(owner, "__dict__", ()) if isinstance(one, str)])
        fix = f"did you mean {' or '.join(map(repr, close))}? " if close else ""
        fix += f"correct {candidate.value!r} in the plugin's entry points, and install it again"
        _refuse(candidate, "attribute", reason, fix, error)
    except BaseException as error:  # noqa: BLE001  # the barrier: a module's `__getattr__` is the plugin's code
        reason = f"fetching {attribute!r} from {name} raised {_described(error)}{_where(error, name)}"
        _refuse(candidate, "attribute", reason, _leave_out(candidate), error)


def _refuse(candidate: Candidate, stage: str, reason: str, fix: str, error: BaseException | None = None) -> NoReturn:
    fault = Fault(stage, candidate.plugin, candidate.name, reason, fix)
    raise PluginError(candidate.plugin, stage, reason, fix, (fault,)) from error


def _described(error: BaseException) -> str:
    try:
        text = shown(str(error))
    except Exception:  # noqa: BLE001  # an exception's `__str__` is the plugin's code as well
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _where(error: BaseException, module: str) -> str:
    """Name the line that raised: the deepest in the plugin's package, else the deepest outside the import system."""
    if isinstance(error, SyntaxError) and error.filename:
        return f" ({printable(error.filename)}:{error.lineno})"
    package = module.partition(".")[0]
    own = other = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        file = frame.f_code.co_filename
        if file == __file__ or file.startswith("<frozen importlib") or file == importlib.__file__:
            continue
        other = f" ({printable(file)}:{line})"
        if str(frame.f_globals.get("__name__")).partition(".")[0] == package:
            own = other
    return own or other


def _import_fix(candidate: Candidate, module: str, error: BaseException) -> str:
    name = candidate.distribution or candidate.plugin
    missing = getattr(error, "name", None) or ""
    if isinstance(error, ImportError) and missing:
        package = missing.partition(".")[0]
        if package == module.partition(".")[0]:
            # The module that the entry names: of the distribution itself, or of one that it should depend on.
            return (
                f"`pip install {package}` if that is another distribution, else `pip install --force-reinstall {name}`"
            )
        if isinstance(error, ModuleNotFoundError):
            return f"`pip install {package}`, or whatever distribution provides the module {package}"
        return f"`pip install --upgrade {package}`: {name} expects another version of it"
    if isinstance(error, SyntaxError):
        version = ".".join(map(str, sys.version_info[:2]))
        return f"`pip install --upgrade {name}` for a version that runs on Python {version}"
    if isinstance(error, SystemExit):
        return f"{module} must not exit when it is imported: put that under `if __name__ == '__main__':`"
    return _leave_out(candidate)


def _leave_out(candidate: Candidate) -> str:
    return f"upgrade or correct {candidate.plugin}, or set JACKFIELD_DISABLE_PLUGINS={candidate.plugin}"


def _drop_half_made(error: BaseException, before: frozenset[str]) -> None:
    """Drop the modules that a failed import left behind, broken.

    Python itself drops each module whose own code raised. A module that imported such a one in a circle was finished
    and stays, with a reference to the dead half: those are found by that reference and dropped too. Everything else
    stays, for a second import of a sound module may not work (tables registered twice, extension modules).
    """
    dead = {
        str(frame.f_globals.get("__name__"))
        for frame, _ in traceback.walk_tb(error.__traceback__)
        if frame.f_code.co_name == "<module>"
    }
    dead = {name for name in dead if name not in before and name not in sys.modules}
    suspects = {name: module for name, module in sys.modules.copy().items() if name not in before}
    while dead:
        broken = {name for name, module in suspects.items() if _refers_to(module, dead)}
        for name in broken:
            sys.modules.pop(name, None)
            del suspects[name]
        dead = broken


def _refers_to(module: object, dead: set[str]) -> bool:
    values = list(getattr(module, "__dict__", {}).values())
    return any(
        (isinstance(value, ModuleType) and value.__name__ in dead)
        or (isinstance(value, FunctionType | type) and value.__module__ in dead)
        for value in values
    )
