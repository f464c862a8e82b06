"""The barrier around a plugin's code: importing its modules, fetching their attributes; what it raises is a fault."""

import importlib
import inspect
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from importlib import metadata
from types import FunctionType, ModuleType
from typing import Any, NoReturn

from jackfield.errors import Fault, PluginError
from jackfield.log import confide
from jackfield.model.names import close_names
from jackfield.plugins.discovery.entries import canonical, shown
from jackfield.stack import error_message, error_type, spoken, traceback_of
from jackfield.strangers import Broken, barrier, is_a, is_interrupt, named
from jackfield.text import printable


def refuse(
    plugin: str, stage: str, reason: str, fix: str, error: BaseException | None = None, entry: str = ""
) -> NoReturn:
    """Raise the error of a plugin, with its fault."""
    raise PluginError(plugin, stage, reason, fix, (Fault(stage, plugin, entry or plugin, reason, fix),)) from error


_DEFINED = (FunctionType, type)


class Modules:
    """The modules that one plugin can name: those of the distribution that it is, or of its configuration.

    Args:
        plugin: whose they are.
        root: the private name of its own module, "" when it has a public one.
        stem: what the author calls that module; `stem` and `stem.sub` in a configuration mean the plugin's own.
        distribution: the installed distribution whose entry points name them; "" when a configuration does.
        entry: what of it is asked for, for faults; the plugin itself by default.
        reference: how an entry point names it.
    """

    def __init__(
        self,
        plugin: str,
        root: str = "",
        stem: str = "",
        distribution: str = "",
        entry: str = "",
        reference: str = "it",
    ) -> None:
        self.plugin, self._root, self._stem = plugin, root, stem
        self._distribution, self._entry, self._reference = distribution, entry, reference

    def module(self, name: str) -> ModuleType:
        """Import a module.

        The first import executes it, under the import system's own lock: threads that come together execute it once.
        What a failed import left half-made in `sys.modules` is dropped, so that no later one is served from it.

        Args:
            name: its dotted name, as the author writes it.

        Raises:
            PluginError: stage `import`, when it raises anything but the user's Ctrl-C; the original is `__cause__`.
        """
        if not all(map(str.isidentifier, name.split("."))):
            self._refuse("import", f"({shown(name)}) is not a module's name", "correct it")
        private = self._root and (name == self._stem or name.startswith(f"{self._stem}."))
        real = self._root + name[len(self._stem) :] if private else name
        before = frozenset(sys.modules)
        try:
            return importlib.import_module(real)
        except BaseException as error:
            if is_interrupt(error):
                raise  # any other that wants to exit when it is imported must not end the host
            _drop_half_made(error, before)
            confide(f"plugin {self.plugin}: importing {shown(name)}", error)
            reason = f"importing {shown(name)} raised {self._described(error)}{self._where(error, real)}"
            self._refuse("import", reason, self._import_fix(name, error) + self._more(error), error)

    def fetch(self, owner: Any, path: Sequence[str]) -> tuple[Any, Any]:
        """Follow a path of attributes.

        Args:
            owner: where it begins.
            path: the names, at least one.

        Returns:
            The last but one, and the last.

        Raises:
            PluginError: stage `attribute`, when one is not there or raises.
        """
        value = owner
        for name in path:
            owner = value
            try:
                value = getattr(owner, name)
            except AttributeError as error:
                close = close_names(name, _offered(owner))
                fix = f"did you mean {' or '.join(map(repr, close))}? " if close else ""
                where = "the plugin's entry points, and install it again" if self._distribution else "the configuration"
                reason = f"{self._called(owner)} has no attribute {shown(name)!r}{_loaded(owner)}"
                fix = (not close and _rename(owner)) or f"{fix}correct {self._reference} in {where}"
                self._refuse("attribute", reason, fix, error)
            except BaseException as error:
                if is_interrupt(error):
                    raise
                # A module's `__getattr__`, or a property, is the plugin's code.
                called = self._called(owner)
                where = self._where(error, called)
                confide(f"plugin {self.plugin}: fetching {shown(name)!r} from {called}", error)
                reason = f"fetching {shown(name)!r} from {called} raised {self._described(error)}{where}"
                self._refuse("attribute", reason, self._leave_out() + self._more(error), error)
        return owner, value

    def plain(self, text: str) -> str:
        """Put the author's name of the plugin's module in place of the private one."""
        return text.replace(self._root, self._stem) if self._root else text

    def _refuse(self, stage: str, reason: str, fix: str, error: BaseException | None = None) -> NoReturn:
        refuse(self.plugin, stage, reason, fix, error, self._entry)

    def _called(self, owner: Any) -> str:
        return shown(self.plain(owner.__name__ if type(owner) is ModuleType else named(owner)))

    def _described(self, error: BaseException) -> str:
        text = shown(self.plain(spoken(error)))
        return f"{self.plain(error_type(error))}: {text}" if text else self.plain(error_type(error))

    def _where(self, error: BaseException, module: str) -> str:
        """Name the line that raised: the deepest in the plugin's package, else the deepest of anybody else's."""
        if is_a(error, SyntaxError) and is_a(error.filename, str):
            return f" ({printable(error.filename)}{f':{error.lineno}' if error.lineno else ''})"
        package = module.partition(".")[0]
        own = other = ""
        for frame, line in traceback.walk_tb(traceback_of(error)):
            file, top = frame.f_code.co_filename, _top(frame.f_globals.get("__name__"))
            if top in ("importlib", "jackfield") or file.startswith("<frozen importlib"):
                continue
            other = f" ({printable(file)}:{line})"
            own = other if top == package else own
        return own or other

    def _import_fix(self, name: str, error: BaseException) -> str:
        if is_a(error, SystemExit):
            return f"{shown(name)} must not exit when it is imported: put that under `if __name__ == '__main__':`"
        python = ".".join(map(str, sys.version_info[:2]))
        if is_a(error, SyntaxError):
            upgrade = f"`pip install --upgrade {self._distribution}` for a version that runs on Python {python}"
            return upgrade if self._distribution else f"correct it, for Python {python}"
        missing = getattr(error, "name", None) if is_a(error, ImportError) else None
        if is_a(error, ImportError) and (fix := _own_fix(error, missing, file=bool(self._root))):
            return fix
        if missing and is_a(missing, str) and (is_a(error, ModuleNotFoundError) or self._distribution):
            return self._missing_fix(name, missing, found=not is_a(error, ModuleNotFoundError))
        return self._leave_out()

    def _missing_fix(self, name: str, missing: str, *, found: bool) -> str:  # noqa: PLR0911  # one for each case
        top, package = missing.partition(".")[0], name.partition(".")[0]
        if top == self._stem:
            return f"{top} has no public name: inside a folder write `from . import …`, a single file has no submodules"
        # Nothing here takes the name of a module for that of a distribution: what a slip has made could be anybody's.
        if self._distribution and top == package:
            again = f"`pip install --force-reinstall {self._distribution}`"
            return f"correct {self._reference} in the plugin's entry points if it is misspelt, else {again}"
        if found and top in sys.stdlib_module_names:
            return f"upgrade or correct {self._distribution}: {top} is a module of Python, and has no such thing here"
        if found:
            return f"upgrade what provides the module {top}: {self._distribution} expects another version of it"
        if self._distribution and (needed := _lacking(self._distribution, top)):
            return f"`pip install {needed}`, which {self._distribution} requires"
        if not self._distribution and f"{name}.".startswith(f"{missing}."):
            return f"correct {shown(name)!r} in the configuration, or install what provides it"
        if not self._distribution and top in (self._root, package):
            return f"create it, or correct the import in {package}"
        return f"install the distribution that provides the module {top}, or correct the import if it is misspelt"

    def _more(self, error: BaseException) -> str:
        """Say where the message of an error can be read, if a fault does not show it."""
        if not error_message(error) or spoken(error):
            return ""
        return f"; `pluginctl check{'' if self._distribution else ' FILE.toml'}` shows what it says"

    def _leave_out(self) -> str:
        if self._distribution:
            return f"upgrade or correct {self.plugin}, or set JACKFIELD_DISABLE_PLUGINS={self.plugin}"
        return f"correct it, or leave the plugin {self.plugin} out"


def _top(module: object) -> str:
    """Give the top-level package of a module's name; a module may have put anything in its place."""
    return str.__str__(module).partition(".")[0] if is_a(module, str) else ""


def _lacking(distribution: str, module: str) -> str:
    """Name a requirement of a distribution that is not installed: the one that is called like a module, else the only.

    Args:
        distribution: whose `Requires-Dist` counts.
        module: what it could not import.
    """
    from packaging.requirements import InvalidRequirement, Requirement  # noqa: PLC0415  # when something is missing

    lacking = []
    with suppress(Exception):  # metadata may be broken in any way, and there is a fix without it
        for line in metadata.requires(distribution) or ():
            with suppress(InvalidRequirement):
                wanted = Requirement(line)
                if (wanted.marker is None or wanted.marker.evaluate({"extra": ""})) and not _installed(wanted.name):
                    lacking.append(wanted.name)
    alike = [name for name in lacking if canonical(name) == canonical(module)]
    return (alike or (lacking if len(lacking) == 1 else [""]))[0]


def _installed(distribution: str) -> bool:
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True


def is_method(owner: Any, name: str) -> bool:
    """Tell whether an attribute of a class is an ordinary method, which needs an instance."""
    return is_a(owner, type) and is_a(inspect.getattr_static(owner, name, None), FunctionType)


def _offered(owner: Any) -> list[str]:
    """Name what a module or class offers to others: neither what is private, nor the modules that it imports."""
    try:
        with barrier():  # not `dir`, which runs the plugin's code if it defines `__dir__`
            known = {name: value for name, value in vars(owner).items() if is_a(name, str)}
    except Broken:
        return []
    return [name for name, value in known.items() if not name.startswith("_") and not is_a(value, ModuleType)]


def _own_fix(error: ImportError, missing: str | None, *, file: bool) -> str:
    """Give the fix for an import that nothing installed would help; "" for any other."""
    if file and "relative import" in str(error):
        return "a single file is no package: write `import …` for what lies beside it, or make its folder the plugin"
    top = str(missing).partition(".")[0]
    if top not in sys.stdlib_module_names:
        return ""
    if is_a(error, ModuleNotFoundError):
        return _rename(sys.modules.get(top)) or f"install a Python that has {missing}: this one lacks it"
    return f"use another version of Python; or rename the plugin's own {top}, if it has one: Python's comes first"


def _loaded(owner: object) -> str:
    """Say which file a module is that has the name of one of Python's own; "" for any other."""
    file = vars(owner).get("__file__") if _rename(owner) else ""
    if file is None:
        return " (it is built into Python)"
    return f" (it was loaded from {printable(str(file))})" if file else ""


def _rename(owner: object) -> str:
    """Give the fix for a plugin's module that has the name of one of Python's own, which hides it; "" for any other."""
    name = str(vars(owner).get("__name__")).partition(".")[0] if isinstance(owner, ModuleType) else ""
    if name not in sys.stdlib_module_names:
        return ""
    return f"rename the plugin's {name}: Python has a module of that name, which comes first"


def _drop_half_made(error: BaseException, before: frozenset[str]) -> None:
    """Drop the modules that a failed import left behind, broken.

    Python itself drops each module whose own code raised. A module that imported such a one in a circle was finished
    and stays, with a reference to the dead half: those are found by that reference and dropped too. Everything else
    stays, for a second import of a sound module may not work (tables registered twice, extension modules).
    """
    dead = {
        found
        for frame, _ in traceback.walk_tb(traceback_of(error))
        if frame.f_code.co_name == "<module>" and type(found := frame.f_globals.get("__name__")) is str
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
    try:
        with barrier():
            values = list(vars(module).values())
    except Broken:
        return False
    return any(_home(value) in dead for value in values)


def _home(value: Any) -> str:
    """Name the module that an object is, or is of, by its own account; "" for what has none."""
    try:
        with barrier():
            found = value.__name__ if is_a(value, ModuleType) else value.__module__ if is_a(value, _DEFINED) else ""
    except Broken:
        return ""
    return found if type(found) is str else ""
