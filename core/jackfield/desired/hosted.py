"""The steps of an apply on a host: what its verbs do, without noting who did it."""

from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

import attrs

from jackfield.desired.state import Actual
from jackfield.errors import Fault, PluginError
from jackfield.model.canary import CanaryState
from jackfield.model.route import Route, Rule, Split
from jackfield.plugins.loading import current_digest

if TYPE_CHECKING:
    from jackfield.calls.access import Access
    from jackfield.config import PluginConfig, RouteConfig, TenantConfig
    from jackfield.plugins.installed import Installed
    from jackfield.plugins.lifecycle import Lifecycle
    from jackfield.plugins.plugins import Plugins
    from jackfield.registry.functions import Functions
    from jackfield.rollout.canary import Canary


class HostSteps:
    """Does to the parts of one host what `Applier` asks for.

    Args:
        functions: where routes and their rules are.
        plugins: loads and unloads.
        lifecycle: starts and stops.
        installed: knows what is installed, and the faults.
        access: what tenants may do.
        canaries: gives the trials that there are.
    """

    def __init__(
        self,
        functions: "Functions",
        plugins: "Plugins",
        lifecycle: "Lifecycle",
        installed: "Installed",
        access: "Access",
        canaries: "Callable[[], Sequence[Canary]]",
    ) -> None:
        self._functions = functions
        self._plugins = plugins
        self._lifecycle = lifecycle
        self._installed = installed
        self._access = access
        self._canaries = canaries

    def actual(self) -> Actual:
        """Look at what is there."""
        return Actual(
            self._functions.running,
            self._lifecycle.records,
            frozenset(self._plugins.loaded),
            tuple(canary.status for canary in self._canaries() if canary.status.state is CanaryState.RUNNING),
            self._changed,
        )

    def _changed(self, names: Collection[str]) -> Mapping[str, tuple[str, str]]:
        """Compare by stat, and read only what may have changed."""
        found = {}
        for name in names:
            there = self._plugins.loaded.get(name)
            if there is None or not there[1].has_changed():
                continue
            config, loaded = there
            try:
                now = current_digest(config)
            except PluginError:
                now = ""
            if now != loaded.digest:
                found[name] = loaded.digest, now
        return found

    def load(self, plugin: "PluginConfig", *, start: bool) -> tuple[Fault, ...]:
        """Load a plugin, and start it if the host runs and `start` says so; give what was left out of it."""
        faults = self._plugins.declare([plugin], self._installed.catalogue)
        self._installed.note(faults)
        self._functions.rewire()
        if self._functions.running and start:
            self._lifecycle.start(plugin.name)
        elif plugin.name not in self._plugins.loaded:
            first = next(fault for fault in faults if fault.plugin == plugin.name)
            raise PluginError(plugin.name, first.stage, first.reason, first.fix, faults)
        return faults

    def unload(self, name: str) -> tuple[Fault, ...]:
        """Stop a plugin and release all that it holds; give what could not be released."""
        report = self._plugins.unload(name)
        self._installed.faults = tuple(fault for fault in self._installed.faults if fault.plugin != name)
        return report.failed

    def reload(self, name: str) -> tuple[Fault, ...]:
        """Replace a plugin by what its file or folder holds now."""
        if self._functions.running:
            return self._plugins.reload(name).faults
        config, _ = self._plugins.loaded[name]
        return (*self.unload(name), *self.load(config, start=False))

    def start(self, name: str) -> None:
        """Start a plugin."""
        self._lifecycle.start(name)

    def stop(self, name: str) -> None:
        """Stop a plugin."""
        self._lifecycle.stop(name)

    def route(self, name: str, rule: "RouteConfig | None", *, keep_default: bool, plugins: Sequence[str]) -> None:
        """Take over what the file says of a function's versions."""
        made = rule_of(name, rule) if rule is not None else Rule()
        place = {plugin: number for number, plugin in enumerate(plugins)}

        def change(route: Route) -> Route:
            default = route.default
            if made.default is not None and made.default in route.endpoints and not keep_default:
                default = made.default
            elif made.default is None and not keep_default:
                default = min(route.endpoints, key=lambda version: place.get(route.endpoints[version].spec.plugin, -1))
            return attrs.evolve(route, default=default, split=made.split)

        rules = {each: there for each, there in self._functions.rules.items() if each != name}
        self._functions.rules = MappingProxyType(rules if rule is None else {**rules, name: made})
        if any(endpoint.spec.name == name for endpoint in self._functions.endpoints()):
            self._functions.reroute(change, [name])

    def tenants(self, tenants: "Mapping[str, TenantConfig] | None") -> None:
        """Take over what the file says of tenants."""
        self._access.configure(tenants)

    def abort(self, name: str) -> None:
        """End the trials of a function or plugin that still run."""
        for canary in self._canaries():
            if canary.status.name == name and canary.status.state is CanaryState.RUNNING:
                canary.abort("its plugin or route was changed by an apply")


def rule_of(name: str, route: "RouteConfig") -> Rule:
    """Translate what the configuration says of a function's versions."""
    split = Split(name, tuple(route.shares.items()), dict(route.tenants)) if route.shares or route.tenants else None
    return Rule(route.default, split)
