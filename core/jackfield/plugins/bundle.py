"""What every source of plugins yields: one frozen bundle of a plugin's settings and its code."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import attrs

from jackfield.errors import Fault
from jackfield.hooks import Implementation
from jackfield.injection.providers import Provider, describe
from jackfield.model.record import RestartPolicy
from jackfield.model.spec import Colour, FunctionSpec

if TYPE_CHECKING:
    from jackfield.plugins.content import Content


@attrs.frozen(eq=False)
class PluginBundle:
    """One version of one plugin: how it is to be run, and what it brings.

    An installed distribution, a `[[plugin]]` of a configuration, a file and a folder all come as this, and are treated
    alike from here on. It keeps the plugin's code alive: let go of it when the plugin is purged.

    It lives here and not in `model`, since it holds providers, which `model` does not know.

    Attributes:
        name: the plugin's unique name.
        version: the version of its functions: the configured one, else the distribution's, else `0`.
        location: where its code is: the `path` of its configuration.
        depends_on: names of the plugins that must be running before it starts.
        auto_start: whether it starts with the host.
        start_timeout: seconds that importing it may take, and that making its object, its start and the registration
            of its functions may take together.
        stop_timeout: seconds that its calls, its object's stop and its background work may take to end.
        restart: whether it is started again when its start or its health check fails: `never`, `on-failure` (at most
            `restart_limit` times in a row) or `always` (however often).
        restart_limit: how many restarts in a row are tried before it is left failed.
        restart_backoff: seconds before the first restart; each further one in a row waits twice as long, at most five
            minutes.
        options: what the operator configured for it.
        fault: why nothing of it can be used, when its code could not be loaded; None when it was.
        distribution: the installed distribution that it is, "" if none.
        digest: sha256 of the file or of all files of the folder; of what has an environment of its own, the address of
            that; "" for what is importable by a public name.
        root: the private name of its module, "" for what is importable by a public name.
        object: the plugin object, or the class that the host makes it of at each start; None when there is none.
        functions: the functions that can be called as they are, their contracts checked, the configured policy applied.
        methods: attribute and spec of the functions that are methods of an object yet to be made: see `bound`.
        providers: the factories of dependencies.
        hooks: the hook implementations: those of classes are instantiated already.
        faults: what was left out, and why.
        content: the bytes of a file or folder, as they were loaded.
        apart: what keeps the processes that it runs in; None when it runs in this one.
    """

    name: str
    version: str = "0"
    location: str = ""
    depends_on: tuple[str, ...] = ()
    auto_start: bool = True
    start_timeout: float = 30.0
    stop_timeout: float = 10.0
    restart: RestartPolicy = "never"
    restart_limit: int = 5
    restart_backoff: float = 0.5
    options: Mapping[str, Any] = MappingProxyType({})
    fault: Fault | None = None
    distribution: str = ""
    digest: str = ""
    root: str = ""
    object: Any = None
    functions: tuple[FunctionSpec, ...] = ()
    methods: tuple[tuple[str, FunctionSpec], ...] = ()
    providers: tuple[Provider, ...] = ()
    hooks: tuple[Implementation, ...] = ()
    faults: tuple[Fault, ...] = ()
    content: "Content | None" = attrs.field(default=None, repr=False)
    apart: Any = attrs.field(default=None, repr=False)

    @property
    def reloadable(self) -> bool:
        """Whether another version of it can be loaded beside this one."""
        return bool(self.root) or (self.apart is not None and bool(self.digest))

    @property
    def advertised(self) -> tuple[str, ...]:
        """The names of the functions that it has while it runs, sorted."""
        return tuple(sorted({spec.name for spec in self.specs}))

    @property
    def specs(self) -> tuple[FunctionSpec, ...]:
        """All its functions; those that are methods are bound to nothing yet."""
        return (*self.functions, *(spec for _, spec in self.methods))

    def bound(self, instance: Any) -> tuple[FunctionSpec, ...]:
        """Give all its functions, those that are methods bound to the plugin object.

        Args:
            instance: the object that was made of the class `object`.
        """
        methods = (attrs.evolve(spec, target=getattr(instance, attribute)) for attribute, spec in self.methods)
        return (*self.functions, *methods)

    def making(self) -> FunctionSpec:
        """Describe the making of its object, of a class, as a function whose parameters are all injected.

        Raises:
            InjectionError: with every fault of the constructor.
        """
        described = describe(self.object, plugin=self.name)
        return FunctionSpec(
            f"{self.name}.object",
            self.version,
            self.name,
            self.distribution,
            target=self.object,
            colour=Colour.SYNC,
            dependencies=described.dependencies,
        )

    def without(self, keys: Mapping[str, Any]) -> "PluginBundle":
        """Give the bundle without some functions.

        Args:
            keys: those to leave out, by `name@version`.
        """
        return attrs.evolve(
            self,
            functions=tuple(spec for spec in self.functions if spec.key not in keys),
            methods=tuple(pair for pair in self.methods if pair[1].key not in keys),
        )

    def beside(self, version: str) -> "PluginBundle":
        """Give it a version of its own, if it has the number of the one that it is to stand beside.

        Args:
            version: that of the other.
        """
        number = version.partition("+")[0]
        if self.version != number:
            return self
        later = f"{number}+{self.digest[:8] or 'reloaded'}"
        return self.labelled(later if later != version else f"{later}.again")

    def labelled(self, version: str) -> "PluginBundle":
        """Give the plugin and its functions another version, so that they can stand beside those of the same number."""
        return attrs.evolve(
            self,
            version=version,
            functions=tuple(attrs.evolve(spec, version=version) for spec in self.functions),
            methods=tuple((attribute, attrs.evolve(spec, version=version)) for attribute, spec in self.methods),
        )
