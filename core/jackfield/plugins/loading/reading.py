"""From a plugin's attributes to functions, providers and hooks; a faulty entry is left out alone."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import MethodType, ModuleType
from typing import TYPE_CHECKING, Any

import attrs

from jackfield.contract import codec_of, specify
from jackfield.errors import Fault, JackfieldError, PluginError
from jackfield.hooks import Implementation, implementation_of
from jackfield.injection.providers import Provider, describe
from jackfield.model.spec import FunctionSpec
from jackfield.plugins.barrier import Modules, is_method, refuse
from jackfield.plugins.discovery import FUNCTIONS, HOOKS, PROVIDERS, Candidate, load
from jackfield.plugins.discovery.entries import shown
from jackfield.plugins.loading import marks
from jackfield.strangers import Broken, barrier

if TYPE_CHECKING:
    from jackfield.config import PluginConfig

_NOBODY = object()


class Reading:
    """Collects what one plugin brings.

    Args:
        plugin: its configuration.
        modules: how its modules are imported.
        version: the version of its functions.
        distribution: the installed distribution it is, "" if none.
        instance_of: the class that the host makes the plugin object of, if the object is one.

    Attributes:
        functions: what can be called as it is.
        methods: attribute and spec of what needs the plugin object; the spec's target is bound to nothing yet.
        providers: factories of dependencies.
        hooks: hook implementations, their classes instantiated.
        faults: why the rest is left out.
    """

    def __init__(
        self, plugin: "PluginConfig", modules: Modules, version: str, distribution: str = "", instance_of: Any = None
    ) -> None:
        self._plugin, self._modules, self._version, self._distribution = plugin, modules, version, distribution
        self._class = instance_of
        self.functions: list[FunctionSpec] = []
        self.methods: list[tuple[str, FunctionSpec]] = []
        self.providers: list[Provider] = []
        self.hooks: list[Implementation] = []
        self.faults: list[Fault] = []

    def configured(self, base: Any, home: str = "") -> None:
        """Read the functions that the configuration maps to attributes.

        Args:
            base: what an attribute without a module is of, or None.
            home: the module it is of when there is no `base`; "" when it must say its module.
        """
        for name, reference in self._plugin.functions.items():
            with self._entry(name):
                module, _, attribute = reference.rpartition(":")
                module = module or ("" if base is not None else home)
                if not module and base is None:
                    reason = f"{shown(attribute)!r} does not say in which module it is"
                    refuse(self._plugin.name, "attribute", reason, f"write 'module:{shown(attribute)}'")
                self._attribute(name, self._modules.module(module) if module else base, attribute)

    def named(self, path: str, target: Any) -> None:
        """Read the function that the plugin's `path` names, unless the configuration maps functions itself.

        Args:
            path: what it is called in its module.
            target: the function, a partial included.
        """
        name = f"{self._plugin.name}.{path}"
        if not self._plugin.functions:
            with self._entry(name):
                self._function(name, target)

    def marked(self, module: ModuleType, found: Any = None) -> None:
        """Read what is marked in a module, and on the plugin object.

        Args:
            module: the module.
            found: the plugin object or its class, if any.
        """
        prefix = f"{self._plugin.name}."
        with self._entry(self._plugin.name):  # what is found is read one by one, finding it is one thing
            if not self._plugin.functions:
                for name, target in marks.functions(module):
                    if any(spec.target is target and spec.name == prefix + name for spec in self.functions):
                        continue  # the one that `path` names
                    with self._entry(prefix + name):
                        self._function(prefix + name, target)
                for name in marks.methods(found) if found is not None else ():
                    with self._entry(prefix + name):
                        self._attribute(prefix + name, found, name)
            for name, factory in marks.providers(module):
                with self._entry(prefix + name):
                    self.providers.append(describe(factory, plugin=self._plugin.name))
            for name, implementation in marks.hooks(module, self._class):
                with self._entry(prefix + name):
                    self.hooks.append(implementation_of(implementation, self._plugin.name))

    def advertised(self, candidates: Iterable[Candidate]) -> None:
        """Read the entry points of a distribution: functions unless the configuration maps some, providers, hooks."""
        takers: dict[str, Callable[[Candidate, Any], None]] = {
            PROVIDERS: lambda _, found: self.providers.append(describe(found, plugin=self._plugin.name)),
            HOOKS: lambda _, found: self.hooks.append(implementation_of(found, self._plugin.name)),
        }
        if not self._plugin.functions:
            takers[FUNCTIONS] = lambda candidate, found: self._function(candidate.name, found)
        for candidate in candidates:
            if candidate.group in takers:
                with self._entry(candidate.name):
                    takers[candidate.group](candidate, load(candidate))

    def _attribute(self, name: str, owner: Any, path: str) -> None:
        holder, target = self._modules.fetch(owner, path.split("."))
        attribute = path.rpartition(".")[2]
        if not is_method(holder, attribute):
            self._function(name, target)
        elif holder is self._class:
            # Checked now, as it will be seen by its callers; `bound` puts the object in.
            self.methods.append((attribute, self._spec(name, MethodType(target, _NOBODY))))
        else:
            reason = f"{path} is a method of the class {holder.__qualname__}, of which there is no object"
            fix = "make it a static method, or let the plugin's `path` name the class, as in 'module:Class'"
            refuse(self._plugin.name, "attribute", reason, fix)

    def _function(self, name: str, target: Any) -> None:
        self.functions.append(self._spec(name, target))

    def _spec(self, name: str, target: Any) -> FunctionSpec:
        plugin = self._plugin
        if any(spec.name == name for spec in (*self.functions, *(spec for _, spec in self.methods))):
            refuse(plugin.name, "duplicate", "the plugin has a function of that name already", "give it another name")
        spec = specify(name, target, version=self._version, plugin=plugin.name, distribution=self._distribution)
        own = spec.policy
        timeout = own.timeout if plugin.timeout is None else plugin.timeout
        policy = attrs.evolve(own, timeout=timeout, executor=plugin.executor or own.executor, retry=plugin.retry_policy)
        spec = attrs.evolve(spec, policy=policy)
        codec_of(spec)
        return spec

    @contextmanager
    def _entry(self, name: str) -> Iterator[None]:
        """Turn whatever is wrong with one entry into faults of that entry."""
        plugin = self._plugin.name
        try:
            with barrier():
                yield
        except PluginError as error:
            self.faults.append(Fault(error.stage, plugin, shown(name), error.reason, error.fix))
        except JackfieldError as error:
            plain = self._modules.plain
            self.faults += (
                attrs.evolve(fault, entry=plain(fault.entry), reason=plain(fault.reason)) for fault in error.faults
            )
        except Broken as broken:
            reason = self._modules.plain(broken.reason)
            self.faults.append(Fault("contract", plugin, shown(name), reason, "correct it, or leave it out"))
