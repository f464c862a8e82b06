"""Importing modules and fetching attributes for a configured plugin: whatever its code raises becomes a fault."""

import inspect
import sys
import traceback
from collections.abc import Sequence
from types import FunctionType, ModuleType
from typing import Any, NoReturn

from jackfield.errors import Fault, PluginError
from jackfield.model.names import close_names
from jackfield.observe.stack import error_message, error_type
from jackfield.plugins.discovery import PLUGINS, Candidate, load
from jackfield.plugins.discovery.entries import printable, shown


def refuse(plugin: str, stage: str, reason: str, fix: str, error: BaseException | None = None) -> NoReturn:
    """Raise the error of a plugin, with its fault."""
    raise PluginError(plugin, stage, reason, fix, (Fault(stage, plugin, plugin, reason, fix),)) from error


class Modules:
    """The modules that one plugin's configuration can name.

    Args:
        plugin: whose they are.
        root: the private name of its own module, "" when it has a public one.
        stem: what the author calls that module; `stem` and `stem.sub` in a configuration mean the plugin's own.
    """

    def __init__(self, plugin: str, root: str = "", stem: str = "") -> None:
        self.plugin, self._root, self._stem = plugin, root, stem

    def module(self, name: str) -> ModuleType:
        """Import a module.

        Args:
            name: its dotted name, as the author writes it.

        Raises:
            PluginError: stage `import`, when it raises anything but KeyboardInterrupt; the original is `__cause__`.
        """
        private = self._root and (name == self._stem or name.startswith(f"{self._stem}."))
        real = self._root + name[len(self._stem) :] if private else name
        try:
            found: ModuleType = load(Candidate(PLUGINS, self.plugin, real, ""))
        except PluginError as refused:
            error = refused.__cause__
            if error is None:
                refuse(self.plugin, "import", f"({shown(name)}) is not a module's name", "correct it")
            reason = f"importing {shown(name)} raised {self._described(error)}{self._where(error, real)}"
            refuse(self.plugin, "import", reason, self._fix(name, error), error)
        return found

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
                # `vars`, not `dir`, which runs the plugin's code if it defines `__dir__`.
                known = [one for one in getattr(owner, "__dict__", ()) if isinstance(one, str)]
                close = close_names(name, known)
                fix = f"did you mean {' or '.join(map(repr, close))}? " if close else ""
                reason = f"{self._called(owner)} has no attribute {shown(name)!r}"
                refuse(self.plugin, "attribute", reason, f"{fix}correct it in the configuration", error)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # noqa: BLE001  # the barrier: a module's `__getattr__` is the plugin's code
                reason = f"fetching {shown(name)!r} from {self._called(owner)} raised {self._described(error)}"
                refuse(self.plugin, "attribute", reason, "correct it, or name something else", error)
        return owner, value

    def plain(self, text: str) -> str:
        """Put the author's name of the plugin's module in place of the private one."""
        return text.replace(self._root, self._stem) if self._root else text

    def _called(self, owner: Any) -> str:
        return shown(self.plain(str(getattr(owner, "__name__", type(owner).__qualname__))))

    def _described(self, error: BaseException) -> str:
        message = error.msg if isinstance(error, SyntaxError) else error_message(error)
        text = shown(self.plain(str(message)))
        return f"{self.plain(error_type(error))}: {text}" if text else self.plain(error_type(error))

    def _where(self, error: BaseException, module: str) -> str:
        """Name the line that raised: the deepest in the plugin's package, else the deepest of anybody else's."""
        if isinstance(error, SyntaxError) and error.filename:
            return f" ({printable(error.filename)}{f':{error.lineno}' if error.lineno else ''})"
        package = module.partition(".")[0]
        own = other = ""
        for frame, line in traceback.walk_tb(error.__traceback__):
            file, top = frame.f_code.co_filename, str(frame.f_globals.get("__name__")).partition(".")[0]
            if top in ("importlib", "jackfield") or file.startswith("<frozen importlib"):
                continue
            other = f" ({printable(file)}:{line})"
            own = other if top == package else own
        return own or other

    def _fix(self, name: str, error: BaseException) -> str:
        if isinstance(error, ModuleNotFoundError) and error.name:
            return self._missing_fix(name, error.name)
        if isinstance(error, SyntaxError):
            return f"correct it, for Python {'.'.join(map(str, sys.version_info[:2]))}"
        if isinstance(error, SystemExit):
            return f"{shown(name)} must not exit when it is imported: put that under `if __name__ == '__main__':`"
        return f"correct it, or take the plugin {self.plugin} out of the configuration"

    def _missing_fix(self, name: str, missing: str) -> str:
        top, package = missing.partition(".")[0], name.partition(".")[0]
        if top == self._stem:
            return f"{top} has no public name: inside a folder write `from . import …`, a single file has no submodules"
        if f"{name}.".startswith(f"{missing}."):
            return f"correct {shown(name)!r} in the configuration, or install what provides it"
        if top in (self._root, package):
            return f"create it, or correct the import in {package}"
        return f"`pip install {top}`, or whatever distribution provides the module {top}"


def is_method(owner: Any, name: str) -> bool:
    """Tell whether an attribute of a class is an ordinary method, which needs an instance."""
    return isinstance(owner, type) and isinstance(inspect.getattr_static(owner, name, None), FunctionType)
