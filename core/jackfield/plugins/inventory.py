"""What a host has in the way of plugins: found, loaded, taken in, replaced and unloaded.

Installed distributions and the plugins of a configuration come the same way: a `PluginConfig` each, loaded to a bundle,
taken in, and handed to the lifecycle.
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from jackfield.errors import Fault, PluginError
from jackfield.model.record import PluginRecord, PluginState
from jackfield.model.spec import FunctionSpec
from jackfield.plugins import loading
from jackfield.plugins.bundle import PluginBundle
from jackfield.plugins.code import Code
from jackfield.plugins.firstuse import FirstUse
from jackfield.plugins.hosting import Hosting
from jackfield.plugins.ledger import UnloadReport
from jackfield.plugins.lifecycle import Lifecycle
from jackfield.plugins.swap import SwapReport

if TYPE_CHECKING:
    from jackfield.config import PluginConfig
    from jackfield.plugins.discovery import Switches


class Inventory:
    """Brings plugins in, and lets them go.

    The unit of a fault is the entry: what is faulty is left out alone, with what needs it.

    Args:
        code: loads them, and keeps the books.
        hosting: where they are taken in.
        lifecycle: where they live.

    Attributes:
        first_use: brings in functions that are known by name alone.
    """

    def __init__(self, code: Code, hosting: Hosting, lifecycle: Lifecycle) -> None:
        self._code = code
        self._hosting = hosting
        self._lifecycle = lifecycle
        self.first_use = FirstUse(code, hosting, lifecycle)

    @property
    def faults(self) -> tuple[Fault, ...]:
        """Everything that was left out, and why."""
        return self._code.faults

    # --- Coming in --------------------------------------------------------------------------------------------------

    def scan(self, path: Sequence[str] | None = None) -> "Switches":
        """Look what is installed, from metadata alone.

        Args:
            path: where to look instead of `sys.path`.

        Returns:
            The operator's switches.
        """
        from jackfield.plugins.discovery import Switches, scan  # noqa: PLC0415  # for those who look

        switches = Switches.from_environment(os.environ)
        self._code.catalogue = scan(path, switches=switches)
        return switches

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
            self._code.note(self._code.catalogue.faults)
            known = {config.name for config in declared}
            from jackfield.config import PluginConfig  # noqa: PLC0415  # for those who have plugins

            installed = [PluginConfig(name, name) for name in self._advertising() if name not in known]
            self._note_disabled(known)
            if lazy:
                self.first_use.put_off(installed)
            else:
                declared += installed
        self._bring_in(declared)

    def _bring_in(self, configs: "Sequence[PluginConfig]") -> None:
        names = sorted(config.name for config in configs)
        with self._code.turns.at(*names, patience=0.0) as mine:
            if not mine:
                which = " or ".join(map(repr, names))
                raise PluginError(names[0], "name", f"a plugin {which} is being loaded already", "wait for that")
            self._lifecycle.check(map(loading.settings, configs))  # so that what is refused leaves nothing behind
            self._lifecycle.add(self._hosting.take_in([self._code.fetch(config) for config in configs]))

    def _advertising(self) -> list[str]:
        """Name the installed plugins that serve anything, in the order in which they were found."""
        return sorted({candidate.plugin for candidate in self._code.catalogue.candidates})

    def _note_disabled(self, declared: set[str]) -> None:
        for name in sorted({one.candidate.plugin for one in self._code.catalogue.disabled} - declared):
            version = next(
                one.candidate.version for one in self._code.catalogue.disabled if one.candidate.plugin == name
            )
            self._lifecycle.note(name, version=version, disabled=True)

    # --- Changing and going -----------------------------------------------------------------------------------------

    def unloaded(self, name: str) -> "PluginConfig | None":
        """Give what a plugin that was unloaded would be loaded by again; None for every other."""
        record = self._lifecycle.records.get(name)
        return self._code.configs.get(name) if record is not None and record.state is PluginState.UNLOADED else None

    def declared(self) -> tuple[str, ...]:
        """Name the functions that the plugins would have if all of them ran."""
        return tuple(sorted({name for bundle in self._code.kept.values() for name in bundle.advertised}))

    def spec(self, name: str, version: str | None) -> FunctionSpec | None:
        """Give what is known of a function whose plugin does not run, or None."""
        specs = (spec for bundle in self._code.kept.values() for spec in bundle.specs)
        return next((spec for spec in specs if spec.name == name and version in (None, spec.version)), None)

    @property
    def loaded(self) -> "Mapping[str, tuple[PluginConfig, PluginBundle]]":
        """Plugin → what it was loaded by, and what it brought; of those alone whose code could be loaded."""
        return {name: (self._code.configs[name], bundle) for name, bundle in self._code.kept.copy().items()}

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
        old = self._code.kept.get(name)
        if old is None:
            record = self._lifecycle.known(name)
            raise PluginError(name, "reload", f"it is {record.state}", "`pluginctl status` says why")
        config = self._code.configs[name]
        if not old.reloadable:
            raise loading.refuse_reload(config)
        if old.digest and self.digest(config) == old.digest:
            return SwapReport(name, old.version, old.version)
        new = self._code.load(config)
        if new.digest and new.digest == old.digest:  # what was looked up anew has been found to be the same
            self._hosting.drop(new)
            return SwapReport(name, old.version, old.version)
        new = new.beside(old.version)
        try:
            self._hosting.add_providers(new)
            report = self._lifecycle.swap(name, new, keep_warm=keep_warm)
        except BaseException:
            self._hosting.drop(new)
            raise
        for replaced in self._code.replace(new):
            self._hosting.drop(replaced)
        return report

    def digest(self, config: "PluginConfig") -> str:
        """Give the digest of what a plugin would be loaded from now; "" for what has none.

        Raises:
            PluginError: when it cannot be told.
        """
        return self._code.digest(config)

    def beside(
        self, name: str, wanted: "Callable[[PluginConfig], PluginConfig]"
    ) -> "tuple[PluginConfig, PluginBundle, PluginBundle]":
        """Load another version of a plugin that runs in processes of its own; nothing of it is called yet.

        Args:
            name: which.
            wanted: makes of its configuration that by which the other version is loaded.

        Returns:
            That configuration, the version that there is, and the other one; `drop` that if it is not wanted.

        Raises:
            PluginError: if there is none of that name in processes of its own, or the other cannot be loaded.
        """
        old = self._code.kept.get(name)
        if old is None:
            record = self._lifecycle.known(name)
            raise PluginError(name, "upgrade", f"it is {record.state}", "`pluginctl status` says why")
        if old.apart is None:
            fix = 'say executor = "worker" of it, or restart the process with the other version installed'
            raise PluginError(name, "upgrade", "it runs in this process, which can have one version of it alone", fix)
        config = wanted(self._code.configs[name])
        new = self._code.load(config)
        return config, old, new.beside(old.version)

    def drop(self, bundle: PluginBundle) -> None:
        """Let go of a version that does not serve; once more is no error."""
        self._hosting.drop(bundle)

    def keep(self, config: "PluginConfig", bundle: PluginBundle) -> None:
        """Note which version of a plugin serves now, and by what it was loaded."""
        self._code.configs[config.name] = config
        self._code.options[config.name] = config.options
        for replaced in self._code.replace(bundle):
            self._hosting.drop(replaced)

    def unload(self, name: str, *, keep_state: bool = False) -> UnloadReport:
        """Stop a plugin, give back everything that it acquired, and forget its functions in the history.

        Args:
            name: which.
            keep_state: whether its state stays, for the next of its name.

        Returns:
            What was released, and what is still there.

        Raises:
            PluginError: if nobody knows it.
        """
        self.first_use.forget(name)  # first: a call that is about to bring it in does not
        report = self._lifecycle.unload(name, keep_state=keep_state)
        self._code.options.pop(name, None)
        self._code.strike(lambda fault: fault.plugin == name)
        return report
