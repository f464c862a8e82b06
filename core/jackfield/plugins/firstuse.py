"""Functions that are known by name alone, and imported at their first use.

Whoever brings a plugin in has the turn at it, and then at its start; of the others nobody waits but those who want the
same plugin: one that hangs when it is imported keeps no other waiting. Functions that have something injected wait for
all that provide anything, which are brought in together, since they may need one another.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import TYPE_CHECKING, Final

import attrs

from jackfield.errors import ContractError, PluginError
from jackfield.model.record import PluginState
from jackfield.model.spec import FunctionSpec
from jackfield.plugins.bundle import PluginBundle
from jackfield.plugins.code import Code, as_faults
from jackfield.plugins.hosting import Hosting
from jackfield.plugins.lifecycle import Lifecycle
from jackfield.plugins.work import current_term

if TYPE_CHECKING:
    from jackfield.config import PluginConfig
    from jackfield.plugins.discovery import Candidate

_PROVIDERS: Final = ""  # the turn at which all that provide anything are brought in; no plugin is named so
_MARGIN: Final = 5.0  # seconds beyond its start timeout, in which a plugin that was imported is taken in


class FirstUse:
    """Imports functions when they are called first.

    Args:
        code: loads plugins.
        hosting: where they are taken in.
        lifecycle: where they live.
    """

    def __init__(self, code: Code, hosting: Hosting, lifecycle: Lifecycle) -> None:
        self._code = code
        self._hosting = hosting
        self._lifecycle = lifecycle
        self._waiting: set[str] = set()
        # Each is written by whoever has the turn at its plugin.
        self._bundles: dict[str, PluginBundle] = {}  # loaded, and not taken in yet
        self._specs: dict[str, FunctionSpec | None] = {}  # imported; None once taken in, or left out
        self._providing: dict[str, None] = {}  # the plugins that provide something, and are not brought in yet

    @property
    def waiting(self) -> frozenset[str]:
        """The functions that are known by name and cannot be called yet."""
        return frozenset(self._waiting)

    def put_off(self, configs: "Sequence[PluginConfig]") -> None:
        """Note plugins by name; of each, only the hooks are loaded now, since they see what others do.

        Args:
            configs: what is installed, and not declared otherwise.
        """
        from jackfield.plugins.discovery import FUNCTIONS, HOOKS, PROVIDERS  # noqa: PLC0415  # for those who looked

        catalogue = self._code.catalogue
        plugins = {config.name: config for config in configs}
        self._waiting = {one.name for one in catalogue.group(FUNCTIONS) if one.plugin in plugins}
        self._providing = dict.fromkeys(one.plugin for one in catalogue.group(PROVIDERS) if one.plugin in plugins)
        for name, config in plugins.items():
            self._code.configs[name] = config
            candidate = next(one for one in catalogue.candidates if one.plugin == name)
            self._lifecycle.note(name, version=candidate.version, location=config.path)
        hooked = dict.fromkeys(one.plugin for one in catalogue.group(HOOKS) if one.plugin in plugins)
        for name in hooked:
            self._load(name)
        if any(map(self._needs_others, hooked)):
            self._bring_in_providers()
        self._take_in(*hooked)

    def forget(self, plugin: str) -> None:
        """Let go of the functions of a plugin that is unloaded."""
        names = [one.name for one in self._code.catalogue.candidates if one.plugin == plugin]
        self._waiting.difference_update(names)
        for name in names:
            self._specs.pop(name, None)
        self._bundles.pop(plugin, None)
        self._providing.pop(plugin, None)

    def find(self, name: str) -> None:
        """Import a function that is known by name alone; threads that ask for it together import it once.

        It still waits afterwards if somebody has the turn for whom this very thread works.

        Args:
            name: the function; nothing happens when it is not waiting to be imported.
        """
        if name not in self._waiting or (candidate := self._code.catalogue.find(name)) is None:
            return
        term = current_term.get()
        starting = term.plugin if term is not None and self._state(term.plugin) is PluginState.STARTING else None
        if starting == candidate.plugin:
            return  # its own start calls it, and would wait for itself
        with self._code.turns.behalf(_start_of(starting)) if starting is not None else nullcontext():
            self._bring_in(candidate)

    def _bring_in(self, candidate: "Candidate") -> None:
        plugin, name = candidate.plugin, candidate.name
        if not self._fetch(candidate):
            return
        # In nobody's turn: who needs one another's providers would wait for one another.
        if self._needs_others(plugin, name) and not self._bring_in_providers():
            return
        if not self._add(candidate):
            return
        # Nor in the turn at the plugin: its start may call what waits as well, its own other functions included.
        if self._start(plugin) and self._extend(candidate):
            self._waiting.discard(name)

    # --- One thing each, in a turn ----------------------------------------------------------------------------------

    def _turn(self, *plugins: str) -> AbstractContextManager[bool]:
        patience = sum(self._code.configs[plugin].start_timeout for plugin in plugins) + _MARGIN
        return self._code.turns.at(*plugins, patience=patience)

    def _fetch(self, candidate: "Candidate") -> bool:
        """Import a function, and its plugin before it."""
        with self._turn(candidate.plugin) as mine:
            if mine and candidate.name in self._waiting:
                self._load(candidate.plugin)
                if candidate.name not in self._specs:
                    self._specs[candidate.name] = self._imported(candidate)
                if candidate.name not in self._waiting:  # the plugin was unloaded meanwhile
                    self.forget(candidate.plugin)
            return mine

    def _load(self, plugin: str) -> None:
        if plugin not in self._bundles and self._lifecycle.bundle(plugin) is None:
            self._bundles[plugin] = self._code.fetch(self._code.configs[plugin], only=())

    def _imported(self, candidate: "Candidate") -> FunctionSpec | None:
        loaded = self._bundles.get(candidate.plugin) or self._code.kept.get(candidate.plugin)
        if loaded is None or loaded.fault is not None:
            return None
        try:
            return self._code.load_function(candidate)
        except (PluginError, ContractError) as error:
            self._code.note(as_faults(error, candidate.plugin))
            return None

    def _needs_others(self, plugin: str, name: str = "") -> bool:
        """Tell whether what is about to be taken in has anything injected."""
        spec, bundle = self._specs.get(name), self._bundles.get(plugin)
        return (spec is not None and bool(spec.dependencies)) or (bundle is not None and self._hosting.needs(bundle))

    def _bring_in_providers(self) -> bool:
        """Bring in whoever provides anything, all that need one another together; tell whether nobody is left."""
        patience = sum(self._code.configs[plugin].start_timeout for plugin in tuple(self._providing)) + _MARGIN
        with self._code.turns.at(_PROVIDERS, patience=patience) as mine:
            if not mine:
                return False
            left = []
            for plugin in tuple(self._providing):
                with self._turn(plugin) as its:
                    if not its:
                        left.append(plugin)
                        continue
                    self._load(plugin)
                    if not self._needs_others(plugin):
                        self._take_in(plugin)
            if left:
                return False
            together = tuple(self._providing)
            with self._turn(*together) as theirs:  # else somebody could load one of them anew in between
                if theirs:
                    self._take_in(*together)
                    self._providing.clear()
                return theirs

    def _take_in(self, *plugins: str) -> None:
        bundles = [bundle for plugin in plugins if (bundle := self._bundles.pop(plugin, None)) is not None]
        if bundles:
            self._lifecycle.add(self._hosting.take_in(bundles))

    def _add(self, candidate: "Candidate") -> bool:
        """Take a function in, with its plugin if that is not there yet."""
        plugin, name = candidate.plugin, candidate.name
        with self._turn(plugin) as mine:
            if mine and name in self._waiting:
                spec, self._specs[name] = self._specs.get(name), None
                if spec is not None and plugin in self._bundles:
                    self._bundles[plugin] = attrs.evolve(self._bundles[plugin], functions=(spec,))
                    spec = None
                self._take_in(plugin)
                there = self._code.kept.get(plugin)
                if spec is not None and there is not None and name not in there.advertised:
                    self._hosting.add_function(there, spec)
            return mine

    def _start(self, plugin: str) -> bool:
        """Start a plugin that was brought in, once: what has failed or was stopped is brought back by nobody's call."""
        patience = self._code.configs[plugin].start_timeout + _MARGIN
        with self._code.turns.at(_start_of(plugin), patience=patience) as mine:
            begins = self._state(plugin) in (PluginState.REGISTERED, PluginState.STARTING)
            if mine and begins and self._hosting.serving:
                with suppress(PluginError):  # its record says why
                    self._lifecycle.start(plugin)
            return mine

    def _state(self, plugin: str) -> PluginState | None:
        record = self._lifecycle.record(plugin)
        return None if record is None else record.state

    def _extend(self, candidate: "Candidate") -> bool:
        """Have a function be called that came to a plugin which was running, or starting."""
        with self._turn(candidate.plugin) as mine:
            there = self._code.kept.get(candidate.plugin)
            if mine and there is not None and candidate.name in there.advertised:
                record = self._lifecycle.records[candidate.plugin]
                if candidate.name not in (record.functions if record.state is PluginState.RUNNING else ()):
                    self._lifecycle.extend(there)
            return mine


def _start_of(plugin: str) -> str:
    """Name the turn at a plugin's start; no plugin is named so."""
    return f"the start of {plugin}"
