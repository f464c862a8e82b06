"""The code of a host's plugins: by what it was loaded, what is kept of it, and everything that was left out."""

import threading
import weakref
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

import attrs

from jackfield.errors import Fault, JackfieldError, PluginError
from jackfield.log import host_log
from jackfield.model.spec import FunctionSpec
from jackfield.plugins import loading
from jackfield.plugins.bundle import PluginBundle
from jackfield.plugins.importing import Importing, hinted
from jackfield.plugins.turns import Turns, carried
from jackfield.strangers import Broken, barrier, is_a

if TYPE_CHECKING:
    from jackfield.config import PluginConfig
    from jackfield.plugins.content import Content
    from jackfield.plugins.discovery import Candidate, Catalogue

T = TypeVar("T")


class Apart(Protocol):
    """Loads plugins into processes of their own."""

    def load(self, config: "PluginConfig", catalogue: "Catalogue") -> PluginBundle:
        """Load a plugin there.

        Args:
            config: its configuration.
            catalogue: what is installed here.

        Raises:
            PluginError: with every fault, when nothing of it can be used.
        """
        ...

    def digest(self, config: "PluginConfig") -> str:
        """Give the digest of what `load` would load now.

        Raises:
            PluginError: when it cannot be told.
        """
        ...

    def drop(self, pool: Any) -> None:
        """End the processes of a bundle: what it has as `apart`."""
        ...


class Code:
    """Loads plugins, and keeps what must be purged when they go.

    Args:
        importing: runs what imports them.
        apart: loads those that say `executor = "worker"`; made when there is one.

    Attributes:
        configs: plugin → by what it was, or will be, loaded.
        options: plugin → what the operator configured for it.
        kept: plugin → what it brought; of those alone whose code could be loaded.
        faults: everything that was left out, and why.
        turns: at plugins, for whoever brings one in.
    """

    def __init__(self, importing: Importing, apart: Callable[[], Apart]) -> None:
        self._importing = importing
        self._apart = apart
        self._replaced: dict[str, tuple[PluginBundle, ...]] = {}
        self._books = threading.RLock()  # held to exchange `faults`, which several threads may add to, and for no more
        self.configs: dict[str, PluginConfig] = {}
        self.options: dict[str, Mapping[str, Any]] = {}
        self.kept: dict[str, PluginBundle] = {}
        self.faults: tuple[Fault, ...] = ()
        self.turns = Turns()
        # Of what is in `sys.modules` the names and bytes: a bundle may know its host, which would never be collected.
        self._here: dict[int, tuple[str, Content]] = {}
        purge_abandoned()
        weakref.finalize(self, _abandoned.append, self._here)

    @cached_property
    def catalogue(self) -> "Catalogue":
        """What the scan found."""
        from jackfield.plugins.discovery import Catalogue  # noqa: PLC0415  # for those who have plugins

        return Catalogue()

    def fetch(self, config: "PluginConfig", only: Collection[str] | None = None) -> PluginBundle:
        """Load a plugin; one that cannot be loaded has the reason as its fault.

        Args:
            config: its configuration, which is kept.
            only: of the functions that a distribution advertises, import these alone; None for all of them.
        """
        self.configs[config.name] = config
        self.options[config.name] = config.options
        try:
            return self.load(config, only)
        except PluginError as error:
            found = as_faults(error, config.name)
            return attrs.evolve(loading.settings(config), fault=found[0], faults=found)

    def load(self, config: "PluginConfig", only: Collection[str] | None = None) -> PluginBundle:
        """Load a plugin.

        Args:
            config: its configuration.
            only: as for `fetch`.

        Raises:
            PluginError: with every fault, when nothing of it can be used.
        """
        if config.executor == "worker":
            return self._apart().load(config, self.catalogue)
        try:
            bundle = self._import(config, lambda: loading.load_bundle(config, self.catalogue, only), loading.purge)
        except PluginError as error:
            faults = tuple(map(hinted, as_faults(error, config.name)))
            raise PluginError(error.plugin, error.stage, error.reason, faults[0].fix, faults) from error.__cause__
        if bundle.content is not None:
            self._here[id(bundle.content)] = bundle.root, bundle.content
        return attrs.evolve(bundle, faults=tuple(map(hinted, bundle.faults)))

    def digest(self, config: "PluginConfig") -> str:
        """Give the digest of what `load` would load now; "" for what has none.

        Raises:
            PluginError: when it cannot be told.
        """
        return self._apart().digest(config) if config.executor == "worker" else loading.current_digest(config)

    def purge(self, bundle: PluginBundle) -> None:
        """Take the code of a version that serves no more out of the interpreter, or end its processes."""
        if bundle.apart is not None:
            self._apart().drop(bundle.apart)
        loading.purge(bundle)
        self._here.pop(id(bundle.content), None)

    def load_function(self, candidate: "Candidate") -> FunctionSpec:
        """Import one more function of a plugin.

        Raises:
            PluginError: if it cannot be imported.
            ContractError: with every fault of it.
        """
        config = self.configs[candidate.plugin]
        return self._import(config, lambda: loading.load_function(candidate))

    def _import(self, config: "PluginConfig", body: Callable[[], T], late: Callable[[T], object] | None = None) -> T:
        """Run what imports a plugin; what it raises, be it what nobody thought of, costs this plugin alone.

        Raises:
            PluginError, ContractError: if it cannot be loaded.
        """

        def guarded() -> T:
            with barrier("loading it"):  # here and not in the thread that waits, which has the user's Ctrl-C
                return body()

        try:
            return self._importing.run(config, carried(guarded), late)
        except Broken as broken:
            fault = Fault("import", config.name, config.name, broken.reason, "correct it, or leave it out")
            raise PluginError(config.name, fault.stage, fault.reason, fault.fix, (fault,)) from broken

    def replace(self, bundle: PluginBundle) -> tuple[PluginBundle, ...]:
        """Keep another version of a plugin; give those that nothing can bring back any more.

        What is kept warm, or could be rolled back to, keeps its modules and providers until the next reload.
        """
        name = bundle.name
        gone, self._replaced[name] = self._replaced.get(name, ()), (self.kept[name],)
        self.kept[name] = bundle
        return gone

    def forget(self, name: str) -> tuple[PluginBundle, ...]:
        """Let go of a plugin; give its versions, those that were replaced included."""
        there = self.kept.pop(name, None)
        return (*self._replaced.pop(name, ()), *(() if there is None else (there,)))

    def note(self, faults: Iterable[Fault], worst: Collection[Fault | None] = ()) -> None:
        """Keep faults that are not known yet, and log them.

        Args:
            faults: what was left out.
            worst: those of them because of which nothing of a plugin can be used.
        """
        known = {*self.faults}
        for fault in dict.fromkeys(faults):
            if fault not in known:
                with self._books:
                    self.faults = (*self.faults, fault)
                host_log("ERROR" if fault in worst else "WARNING", fault)

    def strike(self, is_gone: Callable[[Fault], bool]) -> None:
        """Forget faults."""
        with self._books:
            self.faults = tuple(fault for fault in self.faults if not is_gone(fault))


# What hosts that were dropped without unloading have left in `sys.modules`. It is purged when the next host is made,
# and not at once: the garbage collector runs finalizers in the middle of anything, somebody's walk over `sys.modules`
# included.
_abandoned: Final[deque[dict[int, "tuple[str, Content]"]]] = deque()


def purge_abandoned() -> None:
    """Purge the modules of file plugins whose hosts have been dropped."""
    while _abandoned:
        for root, content in _abandoned.popleft().values():
            loading.forget(root, content)


def as_faults(error: JackfieldError, name: str) -> tuple[Fault, ...]:
    """Give the faults that a load-time error carries, or make one of it."""
    if error.faults:
        return error.faults
    stage = error.stage if is_a(error, PluginError) else "load"
    reason = error.reason if is_a(error, PluginError) else str(error)
    return (Fault(stage, name, name, reason, error.fix if is_a(error, PluginError) else ""),)
