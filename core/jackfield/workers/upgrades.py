"""Upgrades of plugins in workers: another version beside the running one, on trial, until one of the two goes.

The old version serves until its last call has ended; the trial is a canary as any other. What an upgrade comes to is
written down only once it is promoted: a host that is killed before serves the old one at its next start,
and tries the new one again where a store that lasts has both.
"""

import asyncio
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

import attrs

from jackfield.config import Source, UpgradeConfig
from jackfield.errors import Fault, JackfieldError, PluginError, ResourceExhausted, Unavailable
from jackfield.log import host_log
from jackfield.manifests.grants import Permission
from jackfield.model.canary import CanaryState, CanaryStatus
from jackfield.model.snapshot import Snapshot
from jackfield.plugins.bundle import PluginBundle
from jackfield.plugins.inventory import Inventory
from jackfield.plugins.lifecycle import Lifecycle
from jackfield.registry.functions import Functions
from jackfield.registry.routes import redecided, with_default
from jackfield.rollout import Analysis
from jackfield.rollout.canary import Canaries, Canary
from jackfield.runtime.control import ControlLoop
from jackfield.runtime.pool import Pool
from jackfield.workers.compatible import check_compatible, refuse_other

if TYPE_CHECKING:
    from jackfield.config import PluginConfig

    Proposal = tuple[PluginConfig, str]

_LOOK: Final = 0.1  # seconds
_HEALTH: Final = 1.0  # seconds between two questions how a version on trial is


@attrs.frozen(eq=False)
class _Upgrade:
    """One upgrade; whoever takes what is `open` settles it, and everybody else waits until it is `settled`."""

    config: "PluginConfig"
    bundle: PluginBundle
    by: str
    open: list[None] = attrs.field(factory=lambda: [None])
    settled: threading.Event = attrs.field(factory=threading.Event)


class Upgrades:
    """Begins upgrades, and ends what is not needed any more when they have been decided.

    Args:
        functions: where calls go.
        inventory: loads versions, and keeps the books.
        lifecycle: starts and stops them.
        canaries: tries them.
        permission: gives what a version is granted.
        control: where trials are watched.
        pool: where threads come from.
        noted: is told of each upgrade that was promoted: the plugin's new configuration, and who did it.
        refused: is told of each that the file began and somebody aborted: what it proposed, why, and who did it.
    """

    def __init__(
        self,
        functions: Functions,
        inventory: Inventory,
        lifecycle: Lifecycle,
        canaries: Canaries,
        permission: Callable[[PluginBundle], Permission],
        control: ControlLoop,
        pool: Pool,
        noted: "Callable[[PluginConfig, str], object]",
        refused: "Callable[[Proposal, str, str], object]",
    ) -> None:
        self._functions = functions
        self._inventory, self._lifecycle, self._canaries = inventory, lifecycle, canaries
        self._permission, self._noted, self._refused = permission, noted, refused
        self._control, self._pool = control, pool
        self._rolling: dict[str, tuple[_Upgrade, Canary]] = {}

    @property
    def rolling(self) -> "Mapping[str, Proposal]":
        """What the file has proposed and is not decided: plugin → its configuration and digest."""
        return {
            upgrade.bundle.name: (upgrade.config, upgrade.bundle.digest)
            for upgrade, canary in self._rolling.copy().values()
            if upgrade.by == "file" and canary.status.state is not CanaryState.ABORTED
        }

    @property
    def trying(self) -> "Mapping[int, tuple[PluginConfig, str]]":
        """What is on trial: the number of the trial → by what the plugin is loaded, and who began it."""
        return {canary.status.number: (upgrade.config, upgrade.by) for upgrade, canary in self._rolling.copy().values()}

    def again(
        self,
        config: "PluginConfig",
        share: float,
        tenants: tuple[str, ...],
        labels: Mapping[str, str],
        analysis: Analysis | None,
    ) -> Canary:
        """Begin again the upgrade that somebody had begun when the host ended.

        Args:
            config: by what the new version is loaded.
            share: as for `Host.upgrade`, as are the others.
            tenants: as there.
            labels: as there.
            analysis: as there.
        """
        who = UpgradeConfig(share, tenants, labels, analysis is not None)
        return self._begun(config.name, lambda _: config, who, analysis, force=True, by="operator")

    def begin(
        self,
        name: str,
        requirement: str,
        *,
        share: float | None,
        tenants: tuple[str, ...],
        labels: Mapping[str, str] | None,
        analysis: Analysis | None,
        force: bool,
    ) -> Canary:
        """Begin an upgrade; as for `Host.upgrade`."""
        if share is not None and not 0.0 <= share <= 1.0:
            raise ValueError(f"a share is a part of 1, from 0.0 to 1.0, not {share}; 20 % is 0.2")
        who = UpgradeConfig(share, tenants, labels or {}, analysis is not None)
        source = Source.parse(requirement)
        if source is None or source.kind != "requirement":
            fix = "name the distribution and its version, as in 'demo-ocr==2.1'"
            raise PluginError(name, "upgrade", f"{requirement!r} is no requirement with a version", fix)
        if not force and (there := self._inventory.loaded.get(name)) is not None:
            refuse_other(there[1], source.target)
        return self._begun(
            name,
            lambda now: attrs.evolve(now, path=requirement, version=None),
            who,
            analysis,
            force=force,
            by="operator",
        )

    def roll_out(self, config: "PluginConfig", who: UpgradeConfig, *, force: bool = False) -> Canary:
        """Begin the upgrade that a configuration file asks for.

        Args:
            config: what the plugin is to be loaded by.
            who: who tries it first.
            force: as for `Host.upgrade`.

        Raises:
            PluginError: as `Host.upgrade`.
        """
        analysis = Analysis() if who.analyse else None
        return self._begun(config.name, lambda _: config, who, analysis, force=force, by="file")

    def _begun(
        self,
        name: str,
        wanted: "Callable[[PluginConfig], PluginConfig]",
        who: UpgradeConfig,
        analysis: Analysis | None,
        *,
        force: bool,
        by: str,
    ) -> Canary:
        config, old, new = self._inventory.beside(name, wanted)
        try:
            if by != "file":  # which may spell what runs in another way, and is taken over all the same
                _refuse_same(old, new)
            shared = self._checked(old, new, force=force)
            self._pin(shared, new.version)
            self._lifecycle.join(name, new)
        except BaseException:
            self._inventory.drop(new)
            raise
        upgrade = _Upgrade(config, new, by)
        called = self._called(name, shared)
        return self._tried(upgrade, called, who, analysis) if called else self._moved(upgrade, old.version)

    def _checked(self, old: PluginBundle, new: PluginBundle, *, force: bool) -> list[str]:
        """Refuse what is not to take the place of a version; give the functions that both have."""
        if not force:
            check_compatible(old, new, self._permission(old), self._permission(new))
        shared = sorted({spec.name for spec in old.specs} & {spec.name for spec in new.specs})
        if not shared:
            reason = f"{new.version} has none of the functions of {old.version}"
            fix = "unload the plugin, and load the other version in its place"
            raise PluginError(new.name, "upgrade", reason, fix)
        return shared

    def _pin(self, functions: list[str], version: str) -> None:
        """Keep the calls where they are if somebody has once made the version the default that is about to come."""

        def change(snapshot: Snapshot) -> Snapshot | None:
            routes = {name: snapshot.routes[name] for name in functions if name in snapshot.routes}
            said = {name: rule.default for name, rule in snapshot.rules.items() if rule.default is not None}
            there = {name: route.default for name, route in routes.items() if said.get(name) == version}
            if not there:
                return None
            return redecided(snapshot, there, rules=with_default(snapshot.rules, there))

        self._functions.decide(change)

    def _called(self, plugin: str, functions: list[str]) -> list[str]:
        """Give those of a plugin's functions whose calls it gets: of the others another one has the default version."""
        routes = self._functions.state.snapshot.routes
        return [name for name in functions if name in routes and routes[name].spec.plugin == plugin]

    def _moved(self, upgrade: _Upgrade, stable: str) -> Canary:
        """Promote a version that nobody could try, since no call goes to the one before unless it asks for that."""
        name, version = upgrade.bundle.name, upgrade.bundle.version
        reason = "none of its functions is the default: nobody could try it"
        status = CanaryStatus(name, version, stable, CanaryState.PROMOTED, 0.0, (), (), reason)
        host_log("INFO", f"upgrade of {name}: {version} takes the place of {stable}: {reason}")
        try:
            self._settle(upgrade, status, "operator")
        except BaseException:
            self._lifecycle.settle(name, upgrade.bundle, promoted=False)
            raise
        return Canary(self._functions, status, partial(self._settle, upgrade))

    def _tried(
        self,
        upgrade: _Upgrade,
        functions: list[str],
        who: UpgradeConfig,
        analysis: Analysis | None,
    ) -> Canary:
        try:
            canary = self._canaries.begin(
                upgrade.bundle.name,
                version=upgrade.bundle.version,
                share=who.share,
                tenants=who.tenants,
                analysis=analysis,
                labels=who.labels,
                functions=functions,
                promoted=partial(self._settle, upgrade),
                aborted=partial(self._abort, upgrade),
            )
            self._rolling[upgrade.bundle.name] = upgrade, canary
            if not who.tried:
                canary.promote("nobody was to try it first")
            else:
                self._control.submit(self._watched(canary, upgrade))
                self._canaries.tell(canary.status, "upgrade", upgrade.by)
        except BaseException:
            self._rolling.pop(upgrade.bundle.name, None)
            self._lifecycle.settle(upgrade.bundle.name, upgrade.bundle, promoted=False)
            raise
        return canary

    async def _watched(self, canary: Canary, upgrade: _Upgrade) -> None:
        """Abort the trial when the new version is not well; end that when the trial has ended by itself."""
        name, asked = upgrade.bundle.name, self._control.clock()
        while canary.status.state is CanaryState.RUNNING:
            await asyncio.sleep(_LOOK)
            if self._control.clock() - asked >= _HEALTH:
                with suppress(ResourceExhausted):  # no thread to be had: the next look asks
                    await self._pool.run(f"{name}:health", partial(_ask_health, canary, upgrade.bundle))
                asked = self._control.clock()
        settle = partial(self._settle, upgrade, canary.status, "")
        with suppress(ResourceExhausted):  # no thread to be had: it idles until the plugin stops
            await self._pool.run(f"upgrade {upgrade.bundle.name}", settle)

    def _abort(self, upgrade: _Upgrade, status: CanaryStatus, by: str) -> None:
        """Remember what somebody did not want of the file, which still says so, and end it."""
        if upgrade.by == "file" and by != "apply":
            self._refused((upgrade.config, upgrade.bundle.digest), status.reason, by)
        self._settle(upgrade, status, by)

    def _settle(self, upgrade: _Upgrade, status: CanaryStatus, by: str) -> None:
        """End the version that does not stay, or wait until whoever was first has done so."""
        try:
            upgrade.open.pop()
        except IndexError:
            upgrade.settled.wait(upgrade.bundle.stop_timeout * 2)
            return
        try:
            self._end(upgrade, status, by)
        except BaseException as error:
            upgrade.open.append(None)  # whoever watches the trial does it
            if not isinstance(error, Unavailable):  # on the home loop, where nobody may wait
                raise
        else:
            if self._rolling.get(upgrade.bundle.name, (None,))[0] is upgrade:
                del self._rolling[upgrade.bundle.name]
            upgrade.settled.set()

    def _end(self, upgrade: _Upgrade, status: CanaryStatus, by: str) -> None:
        name, promoted = upgrade.bundle.name, status.state is CanaryState.PROMOTED
        report = self._lifecycle.settle(name, upgrade.bundle, promoted=promoted)
        if report is None:
            return
        for fault in report.faults:
            host_log("WARNING", fault)
        if report.left:
            reason = f"calls of {', '.join(report.left)} have not ended, and were left behind"
            host_log("WARNING", Fault("drain", name, name, reason, "give them deadlines"))
        if promoted and report.new == upgrade.bundle.version:
            self._inventory.keep(upgrade.config, upgrade.bundle)
            try:
                self._noted(upgrade.config, by)
            except JackfieldError as error:
                host_log("WARNING", f"upgrade of {name}: {error}")


def _refuse_same(old: PluginBundle, new: PluginBundle) -> None:
    """Refuse a version that runs already."""
    if new.digest == old.digest:
        reason = f"{new.version.partition('+')[0]} runs already"
        raise PluginError(new.name, "upgrade", reason, "name another version")


def _ask_health(canary: Canary, bundle: PluginBundle) -> None:
    """Abort a trial whose version is not healthy."""
    ask = getattr(bundle.object, "health", None)
    if ask is None:
        return
    try:
        reason = "" if ask() is not False else f"health() of {bundle.version} gave False"
    except (JackfieldError, TimeoutError) as error:
        reason = f"health() of {bundle.version} failed: {error}"
    if reason:
        with suppress(PluginError):  # it has been promoted in this very moment
            canary.abort(reason, by="canary")
