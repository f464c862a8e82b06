"""The operator's environment switches: which plugins may load, decided before anything is imported."""

from collections.abc import Iterable, Mapping
from typing import Final

import attrs

from jackfield.errors import Fault
from jackfield.model.names import close_names
from jackfield.plugins.discovery.entries import canonical, shown

LOAD: Final = "JACKFIELD_LOAD_PLUGINS"
DISABLE: Final = "JACKFIELD_DISABLE_PLUGINS"
STRICT: Final = "JACKFIELD_STRICT"
NO_CACHE: Final = "JACKFIELD_NO_CACHE"

_ON = frozenset({"1", "true", "yes", "on"})
_OFF = frozenset({"", "0", "false", "no", "off"})


@attrs.frozen
class Switches:
    """What the environment asks for.

    Names are those that `pluginctl list` prints; case, `-`, `_` and `.` do not matter.

    Attributes:
        load: only these plugins may load; empty means all.
        disable: these may not, whatever `load` says.
        strict: refuse to start with any fault.
        no_cache: neither read nor write the index of entry points.
        faults: switches that could not be understood.

    Examples:
        >>> switches = Switches.from_environment({"JACKFIELD_DISABLE_PLUGINS": "My_Plugin", "JACKFIELD_STRICT": "1"})
        >>> switches.refusal("my-plugin"), switches.refusal("other"), switches.strict
        ('JACKFIELD_DISABLE_PLUGINS', None, True)
    """

    load: tuple[str, ...] = ()
    disable: tuple[str, ...] = ()
    strict: bool = False
    no_cache: bool = False
    faults: tuple[Fault, ...] = ()

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "Switches":
        """Read the switches; unset, empty and `0` mean off.

        Args:
            environ: as a rule `os.environ`.
        """
        faults: list[Fault] = []
        return cls(
            _names(environ, LOAD),
            _names(environ, DISABLE),
            _flag(environ, STRICT, faults),
            _flag(environ, NO_CACHE, faults),
            tuple(faults),
        )

    def refusal(self, plugin: str) -> str | None:
        """Name the variable that keeps a plugin out, or None when it may load.

        Args:
            plugin: the plugin's name, in any spelling.
        """
        if not self.load and not self.disable:
            return None
        name = canonical(plugin)
        if name in map(canonical, self.disable):
            return DISABLE
        if self.load and name not in map(canonical, self.load):
            return LOAD
        return None

    def unknown(self, plugins: Iterable[str]) -> tuple[Fault, ...]:
        """Report the names in the switches that no plugin has: a switch with a slip in it must not fail silently.

        Args:
            plugins: the plugins there are.
        """
        if not self.load and not self.disable:
            return ()
        known = {canonical(plugin): plugin for plugin in plugins}
        return tuple(
            _unknown(variable, name, known)
            for variable, names in ((LOAD, self.load), (DISABLE, self.disable))
            for name in names
            if canonical(name) not in known
        )


def _unknown(variable: str, name: str, known: Mapping[str, str]) -> Fault:
    close = [known[match] for match in close_names(canonical(name), known)]
    fix = f"did you mean {' or '.join(close)}?" if close else "`pluginctl list` prints the names"
    return Fault("environment", "", variable, f"no plugin is called {shown(name)}", fix)


def _names(environ: Mapping[str, str], variable: str) -> tuple[str, ...]:
    value = environ.get(variable, "").strip()
    if value == "0":
        return ()
    return tuple(dict.fromkeys(name for part in value.split(",") if (name := part.strip())))


def _flag(environ: Mapping[str, str], variable: str, faults: list[Fault]) -> bool:
    value = environ.get(variable, "").strip().lower()
    if value not in _ON | _OFF:
        reason = f"({shown(value)}) is neither on nor off; taken as off"
        faults.append(Fault("environment", "", variable, reason, f"set {variable}=1 or {variable}=0"))
    return value in _ON
