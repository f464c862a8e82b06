"""The verbs of plugins, for any thread: each says what is wanted, and waits until the supervisor has got there."""

import math
from collections.abc import Coroutine, Iterable, Mapping
from typing import Any, TypeVar

from jackfield.errors import Fault, ResourceExhausted, Unavailable
from jackfield.model.record import Health, PluginRecord
from jackfield.plugins.background import Backgrounds
from jackfield.plugins.bundle import PluginBundle
from jackfield.plugins.deployment import Deployment
from jackfield.plugins.ledger import Ledgers, UnloadReport
from jackfield.plugins.roster import Roster
from jackfield.plugins.steps import Steps
from jackfield.plugins.supervisor import States
from jackfield.plugins.swap import SwapReport
from jackfield.plugins.verbs import Verbs
from jackfield.runtime.control import ControlLoop
from jackfield.runtime.home import HomeLoop
from jackfield.runtime.pool import Pool

T = TypeVar("T")


class Lifecycle:
    """Starts and stops the plugins of one host in the order of their dependencies.

    Its verbs may be called from any thread but the home loop's and the control loop's, and wait until they are done, at
    most for the timeouts of the plugins. Several may be under way at once: a start that is under way is joined, not
    repeated.

    Args:
        deployment: where plugins run.
        states: where their states are kept.
        control: the loop that they are supervised on.
        home: the loop that their async methods run on.
        pool: where their sync code runs.
        ledgers: what each plugin holds; its own by default.

    Attributes:
        ledgers: what each plugin holds.
        backgrounds: the background work of each.
    """

    def __init__(
        self,
        deployment: Deployment,
        states: States,
        control: ControlLoop,
        home: HomeLoop,
        pool: Pool,
        ledgers: Ledgers | None = None,
    ) -> None:
        self._control = control
        self._home = home
        self.ledgers = ledgers or Ledgers()
        self.backgrounds = Backgrounds(home, self.ledgers, pool, control)
        self._roster = Roster(deployment, pool, control.clock)
        steps = Steps(deployment, home, pool)
        self._verbs = Verbs(
            self._roster, steps, self.ledgers, self.backgrounds, states, deployment, pool, control.clock
        )

    # --- What there is ----------------------------------------------------------------------------------------------

    @property
    def records(self) -> Mapping[str, PluginRecord]:
        """Name → record of every plugin, as of this moment; read-only, never changed, and read without a lock."""
        return self._roster.records

    def check(self, bundles: Iterable[PluginBundle]) -> None:
        """Refuse plugins that `add` would refuse, before anything of them is loaded.

        Args:
            bundles: the plugins, of which no more need be known than how they are configured.

        Raises:
            PluginError: as for `add`.
        """
        self._run(self._verbs.check(tuple(bundles)))

    def add(self, bundles: Iterable[PluginBundle]) -> Mapping[str, PluginRecord]:
        """Take plugins in, in any order: all of them or none.

        One whose code could not be loaded has failed with that. What was discovered, failed to load, or was unloaded
        may be added under the same name.

        Args:
            bundles: the plugins; each may depend on the others and on those that are there.

        Returns:
            The records of all plugins.

        Raises:
            PluginError: with every fault: names that are taken, unknown dependencies with close names, cycles drawn.
        """
        self._run(self._verbs.add(tuple(bundles)))
        return self.records

    def note(self, name: str, *, version: str = "0", location: str = "", disabled: bool = False) -> None:
        """Note a plugin of which only the name is known.

        Args:
            name: its name; nothing happens if it is known already.
            version: its version.
            location: where its code is.
            disabled: whether the operator has switched it off.
        """
        self._run(self._verbs.note(name, version, location, disabled))

    def instance(self, name: str) -> object | None:
        """Give the object of a plugin that runs, or None.

        Raises:
            PluginError: if nobody knows the plugin.
        """
        return self._run(self._verbs.instance(name))

    def bundle(self, name: str) -> PluginBundle | None:
        """Give what a plugin brought that is not unloaded, or None; for any thread."""
        plugin = self._roster.plugins.get(name)
        return plugin.bundle if plugin is not None else None

    def extend(self, bundle: PluginBundle) -> None:
        """Give a plugin that may be running already more functions.

        Args:
            bundle: what it is now: the same with functions added to it.
        """
        self._run(self._verbs.extend(bundle))

    def health(self, name: str | None = None, *, timeout: float = 5.0) -> Mapping[str, Health]:
        """Ask plugins how they are. Nothing follows from the answers; `supervise` acts on them.

        Args:
            name: which plugin; None for all.
            timeout: seconds that one answer may take; all are asked at once.

        Returns:
            Name → what was found. A plugin that runs and has no `health` is healthy.

        Raises:
            PluginError: if nobody knows the plugin.
        """
        return self._run(self._verbs.health(name, timeout))

    def supervise(self, interval: float, *, timeout: float = 5.0) -> None:
        """Ask the running plugins every so often how they are; one that is not healthy has failed, as by `fail`.

        It lasts until `stop_all`. Supervising again replaces it.

        Args:
            interval: seconds.
            timeout: seconds that one answer may take.

        Raises:
            ValueError: if the interval makes no sense.
        """
        if not 0 < interval < math.inf:
            raise ValueError(f"every {interval} seconds: give a finite number above 0")
        self._run(self._verbs.checks.supervise(interval, timeout))

    # --- Verbs ------------------------------------------------------------------------------------------------------

    def start_all(self) -> tuple[Fault, ...]:
        """Start every plugin with `auto_start`, and what those depend on; one that fails keeps its dependents alone.

        Returns:
            The faults of those that do not run now.
        """
        return self._run(self._verbs.start_all())

    def start(self, name: str) -> PluginRecord:
        """Start a plugin, after those that it depends on, and before those that are blocked because of it.

        A dependency that has failed is not tried again; start that one first.

        Args:
            name: which; nothing happens if it runs.

        Returns:
            Its record.

        Raises:
            PluginError: if it does not run now, and why; or while all plugins are being stopped.
        """
        return self._run(self._verbs.start(name))

    def stop(self, name: str) -> PluginRecord:
        """Stop a plugin, after everything that depends on it; a start that is under way is ended early.

        The dependents are blocked then, and start again when the plugin does.

        Args:
            name: which; nothing happens if it does not run.

        Returns:
            Its record: `stopped`, with a fault if something went wrong; `failed` if something of it still runs.

        Raises:
            PluginError: if nobody knows it.
        """
        return self._run(self._verbs.stop(name))

    def restart(self, name: str) -> PluginRecord:
        """Stop a plugin and what depends on it, then start it and, where they ran, its dependents.

        Args:
            name: which.

        Returns:
            Its record.

        Raises:
            PluginError: if it does not run now, and why.
        """
        return self._run(self._verbs.restart(name))

    def stop_all(self, timeout: float | None = None) -> tuple[Fault, ...]:
        """Stop everything, dependents first; no restart comes after it, until something is started again.

        Args:
            timeout: seconds for all together; by default each plugin's own stop timeout applies alone.

        Returns:
            What went wrong meanwhile.
        """
        return self._run(self._verbs.stop_all(timeout))

    def fail(self, name: str, fault: Fault) -> PluginRecord:
        """Note that a plugin has failed: it is stopped after its dependents, which are blocked, and its policy applies.

        Args:
            name: which; nothing happens if it does not run.
            fault: the stage, the reason and the fix.

        Returns:
            Its record.

        Raises:
            PluginError: if nobody knows it.
        """
        return self._run(self._verbs.fail(name, fault))

    def disable(self, name: str) -> PluginRecord:
        """Stop a plugin, and let nobody start it until it is enabled.

        Args:
            name: which.

        Returns:
            Its record.

        Raises:
            PluginError: if nobody knows it, or something of it would not stop.
        """
        return self._run(self._verbs.disable(name))

    def enable(self, name: str) -> PluginRecord:
        """Allow a disabled plugin to be started again; it is not started.

        Args:
            name: which; nothing happens if it is not disabled.

        Returns:
            Its record.

        Raises:
            PluginError: if nobody knows it.
        """
        return self._run(self._verbs.enable(name))

    def swap(self, name: str, bundle: PluginBundle, *, keep_warm: float = 0.0) -> SwapReport:
        """Replace the running instance of a plugin by a new one, in the order that `plugins/swap.py` gives.

        Args:
            name: which; it is running.
            bundle: the new version.
            keep_warm: seconds that the old instance idles before it stops.

        Returns:
            What it came to.

        Raises:
            PluginError: with the stage that failed; then the old instance runs on, and serves.
        """
        return self._run(self._verbs.swap.run(name, bundle, keep_warm))

    def unload(self, name: str) -> UnloadReport:
        """Stop a plugin, and release everything that it acquired through the host, the latest first.

        Its record stays; the name can be added again.

        Args:
            name: which.

        Returns:
            What was released, and what is still there.

        Raises:
            PluginError: if nobody knows it, or it is unloaded already.
        """
        return self._run(self._verbs.unload(name))

    # --- Inside the verbs -------------------------------------------------------------------------------------------

    def _run(self, verb: Coroutine[Any, Any, T]) -> T:
        if self._home.is_here:
            verb.close()
            why = "it waits for plugins, and would block the home loop that they need: use `await asyncio.to_thread(…)`"
            raise Unavailable("the plugins of a host", why)

        async def run() -> T:
            try:
                return await verb
            finally:
                self._roster.publish()

        try:
            return self._control.run(run())
        except ResourceExhausted:
            verb.close()  # no thread for the control loop: it has not begun; else it has ended, and this does nothing
            raise
        finally:
            self._roster.flush()
