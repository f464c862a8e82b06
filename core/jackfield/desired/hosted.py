"""The steps of an apply on a host: what its verbs do, without noting who did it."""

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, Final

import attrs

from jackfield.config import UpgradeConfig
from jackfield.desired.state import Actual, Tried
from jackfield.errors import Fault, PluginError
from jackfield.model.canary import CanaryState
from jackfield.model.route import Rule, Split
from jackfield.model.snapshot import Snapshot
from jackfield.registry.routes import redecided

if TYPE_CHECKING:
    from jackfield.config import Configuration, PluginConfig, RouteConfig, TenantConfig
    from jackfield.desired.state import Proposal
    from jackfield.flow import Flows
    from jackfield.model.flow import Flow
    from jackfield.plugins.inventory import Inventory
    from jackfield.plugins.lifecycle import Lifecycle
    from jackfield.registry.functions import Functions
    from jackfield.rollout import Analysis
    from jackfield.rollout.canary import Canaries, Canary
    from jackfield.workers.upgrades import Upgrades

_DIGESTED: Final = frozenset({"file", "folder", "requirement"})
_ELSEWHERE: Final = "as another host of the same store has done"


class HostSteps:
    """Does to the parts of one host what `Applier` asks for.

    Args:
        functions: where routes, their rules and permissions are.
        inventory: loads and unloads, and knows the faults.
        lifecycle: starts and stops.
        canaries: the trials that there are.
        upgrades: begins upgrades; made when there is one.
        rolling: what the file has proposed and is not decided.
        trying: the number of each trial that is an upgrade → by what the plugin is loaded, and who has begun it.
        flows: the flows; made when there is one.
        schedules: follows the schedules of a file.
        deliveries: sends results where a file says.
        admit: takes over what tenants may do, and what they are due.
    """

    def __init__(
        self,
        functions: "Functions",
        inventory: "Inventory",
        lifecycle: "Lifecycle",
        canaries: "Canaries",
        upgrades: "Callable[[], Upgrades]",
        rolling: "Callable[[], Mapping[str, Proposal]]",
        trying: "Callable[[], Mapping[int, tuple[PluginConfig, str]]]",
        flows: "Callable[[], Flows]",
        schedules: "Callable[[Configuration], None]",
        deliveries: "Callable[[Configuration], None]",
        admit: "Callable[[Mapping[str, TenantConfig] | None], None]",
    ) -> None:
        self._functions = functions
        self._inventory = inventory
        self._lifecycle = lifecycle
        self._canaries = canaries
        self._upgrades = upgrades
        self._rolling = rolling
        self._trying = trying
        self._flows = flows
        self._schedules = schedules
        self._deliveries = deliveries
        self._admit = admit

    def actual(self) -> Actual:
        """Look at what is there."""
        return Actual(
            self._functions.running,
            self._lifecycle.records,
            self._inventory.loaded.keys(),
            tuple(each for each in self._functions.state.snapshot.canaries if each.state is CanaryState.RUNNING),
            self._changed,
            self._digest,
            self._rolling(),
        )

    def _changed(self, names: Collection[str]) -> Mapping[str, tuple[str, str]]:
        """Compare by stat, and read only what may have changed."""
        found, loaded = {}, self._inventory.loaded
        for name in names:
            if name not in loaded:
                continue
            config, bundle = loaded[name]
            content = bundle.content
            if not content.has_changed() if content is not None else config.source.kind not in _DIGESTED:
                continue
            now = self._digest(config)
            if now != bundle.digest:
                found[name] = bundle.digest, now
        return found

    def _digest(self, config: "PluginConfig") -> str:
        try:
            return self._inventory.digest(config)
        except PluginError:
            return ""

    def load(self, plugin: "PluginConfig", *, start: bool) -> tuple[Fault, ...]:
        """Load a plugin, and start it if the host runs and `start` says so; give what was left out of it."""
        self._inventory.load(plugin)
        self._functions.rewire()
        faults = tuple(fault for fault in self._inventory.faults if fault.plugin == plugin.name)
        if self._functions.running and start:
            self._lifecycle.start(plugin.name)
        elif plugin.name not in self._inventory.loaded:
            first = self._lifecycle.records[plugin.name].fault or faults[0]
            raise PluginError(plugin.name, first.stage, first.reason, first.fix, faults or (first,))
        return faults

    def unload(self, name: str, *, keep_state: bool = False) -> tuple[Fault, ...]:
        """Stop a plugin and release all that it holds, but for its state if asked; give what could not be released."""
        return self._inventory.unload(name, keep_state=keep_state).failed

    def reload(self, name: str) -> tuple[Fault, ...]:
        """Replace a plugin by what its file or folder holds now."""
        if self._functions.running:
            return self._inventory.reload(name).faults
        config, _ = self._inventory.loaded[name]
        return (*self.unload(name, keep_state=True), *self.load(config, start=False))

    def upgrade(self, plugin: "PluginConfig", *, share: float | None = None, force: bool = False) -> None:
        """Bring another version of a plugin beside the running one, to be tried by whom its configuration says."""
        who = plugin.upgrade or UpgradeConfig()
        self._upgrades().roll_out(plugin, who if share is None else attrs.evolve(who, share=share), force=force)

    def trials(self) -> "Mapping[str, Tried] | None":
        """Give what is on trial, by the name of each trial; None when the host does not run."""
        if not self._functions.running:
            return None
        upgrades = self._trying()
        return {
            status.name: Tried(
                status.name,
                status.version,
                status.share,
                status.tenants,
                status.labels,
                None if canary.asked is None else _plain(canary.asked),
                *upgrades.get(status.number, (None, "operator")),
            )
            for canary in self._canaries.all
            if (status := canary.status).state is CanaryState.RUNNING
        }

    def try_again(self, tried: "Tried") -> None:
        """Begin a trial as it was when the host ended."""
        from jackfield.rollout import Analysis  # noqa: PLC0415  # for those who have one

        analysis = None if tried.analysis is None else Analysis(**tried.analysis)
        if tried.config is not None:
            self._upgrades().again(tried.config, tried.share, tried.tenants, dict(tried.labels), analysis)
        else:
            self._canaries.begin(
                tried.name,
                version=tried.version,
                share=tried.share,
                tenants=tried.tenants,
                labels=dict(tried.labels),
                analysis=analysis,
            )

    def start(self, name: str) -> None:
        """Start a plugin."""
        self._lifecycle.start(name)

    def hold(self, name: str) -> None:
        """Have a plugin start as soon as what it depends on runs."""
        if self._functions.running and name in self._inventory.loaded:
            self._lifecycle.hold(name)

    def stop(self, name: str) -> None:
        """Stop a plugin."""
        self._lifecycle.stop(name)

    def route(self, name: str, rule: "RouteConfig | None", *, default: str | None) -> None:
        """Take over what the file says of a function's versions."""
        said = Rule() if rule is None else rule_of(name, rule)
        made = said if default is None else attrs.evolve(said, default=default)

        def change(snapshot: Snapshot) -> Snapshot:
            others = {each: kept for each, kept in snapshot.rules.items() if each != name}
            return redecided(snapshot, [name], rules=others if made == Rule() else {**others, name: made})

        self._functions.decide(change)

    def tenants(self, tenants: "Mapping[str, TenantConfig] | None") -> None:
        """Take over what the file says of tenants."""
        self._admit(tenants)

    def flows(self, flows: "Mapping[str, tuple[Flow, ...]]") -> tuple[Fault, ...]:
        """Have the flows that the file says, and no others of an earlier one; give what could not come in."""
        return self._flows().declare(flows)

    def schedules(self, configuration: "Configuration") -> None:
        """Follow the schedules of a file."""
        self._schedules(configuration)

    def deliveries(self, configuration: "Configuration") -> None:
        """Send results where a file says."""
        self._deliveries(configuration)

    def ramp(self, name: str, share: float) -> None:
        """Give the trial of a function or plugin another share."""
        for canary in self._running(name):
            canary.ramp(share, _ELSEWHERE)

    def promote(self, name: str) -> None:
        """Make the version of a trial the default."""
        for canary in self._running(name):
            canary.promote(_ELSEWHERE)

    def abort(self, name: str) -> None:
        """End the trials of a function or plugin that still run."""
        for canary in self._running(name):
            canary.abort("its plugin or route was changed by an apply", by="apply")

    def _running(self, name: str) -> "list[Canary]":
        each = self._canaries.all
        return [one for one in each if one.status.name == name and one.status.state is CanaryState.RUNNING]


def _plain(analysis: "Analysis") -> dict[str, Any]:
    outcomes = sorted(str(each) for each in analysis.outcomes)
    return {**attrs.asdict(analysis), "steps": [*analysis.steps], "outcomes": outcomes}


def rule_of(name: str, route: "RouteConfig") -> Rule:
    """Translate what the configuration says of a function's versions."""
    if not route.shares and not route.tenants:
        return Rule(route.default)
    split = Split(name, tuple(route.shares.items()), dict(route.tenants), labels=dict(route.labels))
    return Rule(route.default, split)
