"""What a host has in the way of plugins: found, loaded, taken in; and everything that was left out.

Installed distributions and the plugins of a configuration come the same way: a `PluginConfig` each, loaded to a bundle,
taken in, and handed to the lifecycle.
"""

import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import attrs

from jackfield.errors import ContractError, Fault, PluginError
from jackfield.log import host_log
from jackfield.model.record import PluginRecord, PluginState
from jackfield.model.spec import FunctionSpec
from jackfield.plugins import loading
from jackfield.plugins.bundle import PluginBundle
from jackfield.plugins.discovery import FUNCTIONS, HOOKS, PROVIDERS, Candidate, Catalogue, Switches, scan
from jackfield.plugins.hosting import Hosting, as_faults
from jackfield.plugins.importing import Importing, hinted
from jackfield.plugins.ledger import UnloadReport
from jackfield.plugins.lifecycle import Lifecycle
from jackfield.plugins.swap import SwapReport

if TYPE_CHECKING:
    from jackfield.config import PluginConfig


class Inventory:
    """Brings plugins in, and keeps the books of it.

    The unit of a fault is the entry: what is faulty is left out alone, with what needs it.

    Attributes:
        catalogue: what the scan found.
        faults: everything that was left out, and why.
        options: plugin → what the operator configured for it.
    """

    def __init__(self) -> None:
        self._hosting: Hosting
        self._lifecycle: Lifecycle
        self._importing: Importing
        self._configs: dict[str, PluginConfig] = {}
        self._replaced: dict[str, tuple[PluginBundle, ...]] = {}
        self._kept: dict[str, PluginBundle] = {}
        self._waiting: set[str] = set()
        self._found: set[str] = set()  # of those that wait, the ones that are imported and about to be served
        self._lazy = threading.RLock()
        self._books = threading.RLock()  # held to exchange `faults`, which several threads may add to, and for no more
        self._switches = Switches()
        self.catalogue = Catalogue()
        self.faults: tuple[Fault, ...] = ()
        self.options: dict[str, Mapping[str, Any]] = {}
        purge_abandoned()
        weakref.finalize(self, _abandoned.append, (self._kept, self._replaced))

    def wire(self, hosting: Hosting, lifecycle: Lifecycle, importing: Importing) -> None:
        """Give it what it brings plugins into; once, when the host is made."""
        self._hosting, self._lifecycle, self._importing = hosting, lifecycle, importing

    # --- Coming in --------------------------------------------------------------------------------------------------

    def scan(self, path: Sequence[str] | None = None) -> Switches:
        """Look what is installed, from metadata alone.

        Args:
            path: where to look instead of `sys.path`.

        Returns:
            The operator's switches.
        """
        self._switches = Switches.from_environment(os.environ)
        self.catalogue = scan(path, switches=self._switches)
        return self._switches

    def declare(self, plugins: "Iterable[PluginConfig]", *, discover: bool = False, lazy: bool = False) -> None:
        """Bring in what a configuration declares, and what is installed besides.

        Args:
            plugins: as configured, and checked; each may depend on the others and on those that are there.
            discover: bring in every distribution that advertises anything and is not declared.
            lazy: import of those nothing before its first use.

        Raises:
            PluginError: if a name is taken.
        """
        declared = list(plugins)
        for config in declared:
            there = self._lifecycle.records.get(config.name)
            if there is not None and there.state not in (PluginState.UNLOADED, PluginState.DISCOVERED):
                raise PluginError(config.name, "name", f"there is a plugin {config.name!r} already", "unload it first")
        if discover:
            self.note(self.catalogue.faults)
            known = {config.name for config in declared}
            from jackfield.config import PluginConfig  # noqa: PLC0415  # for those who have plugins

            installed = [PluginConfig(name, name) for name in self._advertising() if name not in known]
            self._note_disabled(known)
            if lazy:
                self._put_off(installed)
            else:
                declared += installed
        self._bring_in(declared)

    def _bring_in(self, configs: "Sequence[PluginConfig]", only: Iterable[str] | None = None) -> None:
        if not configs:
            return
        self._lifecycle.check(map(loading.settings, configs))  # so that what is refused leaves nothing behind
        bundles = []
        for config in configs:
            self._configs[config.name] = config
            self.options[config.name] = config.options
            try:
                bundles.append(self._loaded(config, None if only is None else set(only)))
            except PluginError as error:
                found = as_faults(error, config.name)
                bundles.append(attrs.evolve(loading.settings(config), fault=found[0], faults=found))
        taken = self._hosting.take_in([each for each in bundles if each.fault is None], self._lifecycle.ledgers.of)
        whole = {each.name: each for each in (*taken, *(each for each in bundles if each.fault is not None))}
        ordered = [whole[each.name] for each in bundles]
        for each in ordered:
            self._keep(each)
        self._lifecycle.add(ordered)
        known = {*self.faults}
        self.note(fault for each in ordered for fault in each.faults if fault not in known)

    def _loaded(self, config: "PluginConfig", only: set[str] | None = None) -> PluginBundle:
        try:
            bundle = self._importing.run(
                config, lambda: loading.load_bundle(config, self.catalogue, only), loading.purge
            )
        except PluginError as error:
            faults = tuple(map(hinted, as_faults(error, config.name)))
            raise PluginError(error.plugin, error.stage, error.reason, faults[0].fix, faults) from error.__cause__
        return attrs.evolve(bundle, faults=tuple(map(hinted, bundle.faults)))

    def _keep(self, bundle: PluginBundle) -> None:
        """Keep what must be purged when the plugin goes."""
        if bundle.fault is None:
            self._kept[bundle.name] = bundle

    def load_again(self, bundle: PluginBundle) -> PluginBundle:
        """Load a plugin that could not be loaded, and take it in; or give it, if that was done too late for a start.

        Args:
            bundle: one with a fault.

        Raises:
            PluginError: if it still cannot be loaded.
        """
        if (late := self._kept.get(bundle.name)) is not None:
            return late
        loaded = self._loaded(self._configs[bundle.name])
        self._strike(bundle.faults.__contains__)
        (taken,) = self._hosting.take_in([loaded], self._lifecycle.ledgers.of)
        self._keep(taken)
        self.note(taken.faults)
        return taken

    def note(self, faults: Iterable[Fault]) -> None:
        """Keep faults, and log them."""
        for fault in faults:
            with self._books:
                self.faults = (*self.faults, fault)
            host_log("WARNING", fault)

    def _strike(self, is_gone: Callable[[Fault], bool]) -> None:
        with self._books:
            self.faults = tuple(fault for fault in self.faults if not is_gone(fault))

    def _advertising(self) -> list[str]:
        """Name the installed plugins that serve anything, in the order in which they were found."""
        return sorted({candidate.plugin for candidate in self.catalogue.candidates})

    def _note_disabled(self, declared: set[str]) -> None:
        for name in sorted({one.candidate.plugin for one in self.catalogue.disabled} - declared):
            version = next(one.candidate.version for one in self.catalogue.disabled if one.candidate.plugin == name)
            self._lifecycle.note(name, version=version, disabled=True)

    # --- At their first use -----------------------------------------------------------------------------------------

    @property
    def waiting(self) -> frozenset[str]:
        """The functions that are known by name and not imported yet."""
        return frozenset(self._waiting)

    def _put_off(self, configs: "Sequence[PluginConfig]") -> None:
        """Note plugins by name; of each, only the hooks are loaded now, since they see what others do."""
        hooked = {candidate.plugin for candidate in self.catalogue.group(HOOKS)}
        self._waiting = {candidate.name for candidate in self.catalogue.group(FUNCTIONS)}
        for config in configs:
            self._configs[config.name] = config
            if config.name not in hooked:
                candidate = next(one for one in self.catalogue.candidates if one.plugin == config.name)
                self._lifecycle.note(config.name, version=candidate.version, location=config.path)
        self._bring_in([config for config in configs if config.name in hooked], only=())

    def find(self, name: str) -> None:
        """Import a function that is known by name alone; threads that ask for it together load it once.

        Args:
            name: the function; nothing happens when it is not waiting to be imported.
        """
        if name not in self._waiting or (candidate := self.catalogue.find(name)) is None:
            return
        with self._lazy:
            if name in self._waiting and name not in self._found:
                self._bring_in_function(candidate)
                self._found.add(name)
        # Not under the lock: a start may call what waits as well. Those that come meanwhile join it.
        if self._hosting.serving:
            with suppress(PluginError):  # its record says why
                self._lifecycle.start(candidate.plugin)
        self._waiting.discard(name)
        self._found.discard(name)

    def _bring_in_function(self, candidate: Candidate) -> None:
        plugin, name = candidate.plugin, candidate.name
        bundle = self._lifecycle.bundle(plugin)
        if bundle is None or plugin not in self._kept:
            self._bring_in([self._configs[plugin]], only=(name,))
            bundle = self._kept.get(plugin)
        else:
            bundle = self._imported(bundle, candidate)
        if bundle is not None and any(spec.dependencies for spec in bundle.specs if spec.name == name):
            self._bring_in_providers()
        if bundle is not None:
            self._lifecycle.extend(bundle)

    def _imported(self, bundle: PluginBundle, candidate: Candidate) -> PluginBundle:
        config = self._configs[bundle.name]
        try:
            spec = self._importing.run(config, lambda: loading.load_function(candidate))
        except (PluginError, ContractError) as error:
            self.note(as_faults(error, bundle.name))
            return bundle
        extended, faults = self._hosting.add_function(bundle, spec)
        self.note(faults)
        self._keep(extended)
        return extended

    def _bring_in_providers(self) -> None:
        """Bring in whoever provides anything and is not there yet: what needs it is about to be called."""
        providing = dict.fromkeys(candidate.plugin for candidate in self.catalogue.group(PROVIDERS))
        self._bring_in([self._configs[name] for name in providing if name not in self._kept], only=())

    # --- Changing and going -----------------------------------------------------------------------------------------

    def unloaded(self, name: str) -> "PluginConfig | None":
        """Give what a plugin that was unloaded would be loaded by again; None for every other."""
        record = self._lifecycle.records.get(name)
        return self._configs.get(name) if record is not None and record.state is PluginState.UNLOADED else None

    def declared(self) -> tuple[str, ...]:
        """Name the functions that the plugins would have if all of them ran."""
        return tuple(sorted({name for bundle in self._kept.values() for name in bundle.advertised}))

    def spec(self, name: str, version: str | None) -> FunctionSpec | None:
        """Give what is known of a function whose plugin does not run, or None."""
        specs = (spec for bundle in self._kept.values() for spec in bundle.specs)
        return next((spec for spec in specs if spec.name == name and version in (None, spec.version)), None)

    @property
    def loaded(self) -> "Mapping[str, tuple[PluginConfig, PluginBundle]]":
        """Plugin → what it was loaded by, and what it brought; of those alone whose code could be loaded."""
        return {name: (self._configs[name], bundle) for name, bundle in self._kept.copy().items()}

    def load(self, plugin: "PluginConfig") -> PluginRecord:
        """Bring in one more plugin, or one that was unloaded.

        Args:
            plugin: its configuration.

        Raises:
            PluginError: if its name is taken.
        """
        self.declare([plugin])
        return self._lifecycle.records[plugin.name]

    def reload(self, name: str, *, keep_warm: float = 0.0) -> SwapReport:
        """Load a file or folder plugin anew beside the running one, and swap without losing a call.

        Args:
            name: which; it is running.
            keep_warm: seconds that the old instance idles before it stops, for a rollback.

        Returns:
            What it came to; the same version twice when the files have not changed.

        Raises:
            PluginError: if it cannot be reloaded in process, or the new version fails; then the old one serves on.
        """
        old = self._kept.get(name)
        if old is None:
            record = self._lifecycle.records.get(name)
            reason = f"it is {record.state}" if record is not None else f"no plugin is named {name!r}"
            raise PluginError(name, "reload", reason, "`pluginctl status` says why")
        config = self._configs[name]
        if not old.reloadable:
            raise loading.refuse_reload(config)
        if loading.current_digest(config) == old.digest:
            return SwapReport(name, old.version, old.version)
        new = self._loaded(config)
        if new.version == old.version.partition("+")[0]:
            new = new.labelled(f"{new.version}+{new.digest[:8]}")
        try:
            self._hosting.add_providers(new)
            report = self._lifecycle.swap(name, new, keep_warm=keep_warm)
        except BaseException:
            self._hosting.drop(new)
            raise
        self._kept[name] = new
        # What is kept warm, or could be rolled back to, keeps its modules and providers until the next reload.
        for replaced in self._replaced.pop(name, ()):
            self._hosting.drop(replaced)
        self._replaced[name] = (old,)
        return report

    def unload(self, name: str) -> UnloadReport:
        """Stop a plugin, give back everything that it acquired, and forget its functions in the history.

        Args:
            name: which.

        Returns:
            What was released, and what is still there.

        Raises:
            PluginError: if nobody knows it.
        """
        report = self._lifecycle.unload(name)
        self.options.pop(name, None)
        self._strike(lambda fault: fault.plugin == name)
        self._waiting.difference_update(one.name for one in self.catalogue.candidates if one.plugin == name)
        return report

    def forget(self, name: str) -> None:
        """For a plugin's ledger: take out what is left of its code, the versions that were replaced included."""
        for replaced in self._replaced.pop(name, ()):
            self._hosting.drop(replaced)
        found = self._kept.pop(name, None)
        if found is not None:
            self._hosting.drop(found)


# What hosts that were dropped without unloading have left in `sys.modules`. It is purged when the next host is made,
# and not at once: the garbage collector runs finalizers in the middle of anything, somebody's walk over `sys.modules`
# included.
_abandoned: Final[deque[tuple[dict[str, PluginBundle], dict[str, tuple[PluginBundle, ...]]]]] = deque()


def purge_abandoned() -> None:
    """Purge the modules of file plugins whose hosts have been dropped."""
    while _abandoned:
        kept, replaced = _abandoned.popleft()
        for one in (*kept.values(), *(each for several in replaced.values() for each in several)):
            loading.purge(one)
