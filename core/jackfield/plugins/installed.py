"""What installed packages advertise, taken over by one host: all at once, or each function at its first call."""

import os
import threading
from collections.abc import Iterable, Sequence

import attrs

from jackfield.errors import Fault, PluginError
from jackfield.hooks import Hooks
from jackfield.injection.injector import Injector
from jackfield.observe.logger import host_log
from jackfield.plugins import boot
from jackfield.plugins.discovery import FUNCTIONS, HOOKS, PROVIDERS, Catalogue, Switches, scan
from jackfield.registry.change import Addition
from jackfield.registry.functions import Functions


class Installed:
    """Loads candidates into a host.

    The unit of a fault is the entry: what is faulty is left out alone, with what needs it.

    Args:
        functions: where functions go.
        injector: where providers go.
        hooks: where hook implementations go.

    Attributes:
        catalogue: what the scan found.
        faults: everything that was left out, and why.
    """

    def __init__(self, functions: Functions, injector: Injector, hooks: Hooks) -> None:
        self._functions = functions
        self._injector = injector
        self._hooks = hooks
        self._waiting: set[str] = set()
        self._loading = threading.RLock()
        self._provided = False
        self.catalogue = Catalogue()
        self.faults: tuple[Fault, ...] = ()

    def discover(self, path: Sequence[str] | None, *, lazy: bool, strict: bool | None) -> None:
        """Scan, and load everything; or hooks alone, and each function when `load` asks for it.

        Args:
            path: where to look instead of `sys.path`.
            lazy: leave functions and providers for later.
            strict: refuse any fault; None for what the environment says.

        Raises:
            PluginError: with all faults, if strict.
        """
        switches = Switches.from_environment(os.environ)
        self.catalogue = scan(path, switches=switches)
        self.note(self.catalogue.faults)
        if lazy:
            self._waiting = {candidate.name for candidate in self.catalogue.group(FUNCTIONS)}
        self._provided = not lazy
        self._adopt(boot.load_all(self.catalogue, (HOOKS,) if lazy else (HOOKS, PROVIDERS, FUNCTIONS)))
        if self.faults and (switches.strict if strict is None else strict):
            first = self.faults[0]
            raise PluginError(first.plugin or first.entry, first.stage, first.reason, first.fix, self.faults)

    @property
    def waiting(self) -> frozenset[str]:
        """The functions that are known by name and not loaded yet."""
        return frozenset(self._waiting)

    def load(self, name: str) -> None:
        """Import a function that is known by name alone; threads that ask for it together load it once.

        Args:
            name: the function; nothing happens when it is not waiting to be loaded.
        """
        if name not in self._waiting:
            return
        with self._loading:
            candidate = self.catalogue.find(name)
            if name not in self._waiting or candidate is None:
                return
            loaded = boot.load_all(Catalogue((candidate,)), (FUNCTIONS,))
            if not self._provided and any(spec.dependencies for spec in loaded.functions):
                self._provided = True
                providers = boot.load_all(self.catalogue, (PROVIDERS,))
                loaded = attrs.evolve(loaded, providers=providers.providers, faults=loaded.faults + providers.faults)
            self._adopt(loaded)
            self._waiting.discard(name)

    def _adopt(self, loaded: boot.Loaded) -> None:
        faults = list(loaded.faults)
        for implementation, plugin in loaded.hooks:
            try:
                self._hooks.add(implementation, plugin)
            except PluginError as error:
                faults += error.faults or (Fault(error.stage, plugin, "hooks", error.reason, error.fix),)
        self._injector.add(*loaded.providers)
        diagnosis = self._injector.diagnose(loaded.functions)
        self._injector.remove(*diagnosis.providers)
        faults += diagnosis.faults
        additions = []
        for spec in loaded.functions:
            if spec.key in diagnosis.functions:
                continue
            refusals = self._functions.refusals(spec)
            faults += refusals
            if not refusals:
                additions.append(Addition(spec))
        self.note(faults)
        self._functions.commit(additions, vetted=True)

    def note(self, faults: Iterable[Fault]) -> None:
        """Keep faults, and log them."""
        for fault in faults:
            self.faults = (*self.faults, fault)
            host_log("WARNING", fault)
