"""What the supervisor needs of the host that plugins run in: one protocol, for a plain start and stop as for a swap."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from jackfield.model.record import PluginRecord
from jackfield.model.route import Endpoint
from jackfield.model.spec import FunctionSpec
from jackfield.plugins.bundle import PluginBundle


class Deployment(Protocol):
    """A place where plugins run. Everything but `publish` is called in threads of the pool: it may run foreign code."""

    @property
    def serving(self) -> bool:
        """Whether the host runs: else no plugin starts, since nobody would stop it. For any thread."""
        ...

    def load(self, bundle: PluginBundle) -> PluginBundle:
        """Try again to load a plugin whose code could not be loaded.

        Args:
            bundle: one with a `fault`.

        Raises:
            PluginError: if it still cannot.
        """
        ...

    def make(self, bundle: PluginBundle) -> Any:
        """Give the plugin object, made with its dependencies if `bundle.object` is a class; None if there is none.

        Raises:
            BaseException: whatever its code raises.
        """
        ...

    def activate(self, bundle: PluginBundle, instance: Any) -> tuple[FunctionSpec, ...]:
        """Make a plugin's functions callable: all of it, or raise.

        Args:
            bundle: the plugin, which has started.
            instance: its object.

        Returns:
            What can be called now.
        """
        ...

    def replace(self, bundle: PluginBundle, instance: Any) -> tuple[tuple[FunctionSpec, ...], tuple[Endpoint, ...]]:
        """Move the calls of a plugin to another version of it in one swap: all of it, or raise.

        Args:
            bundle: the new version, which has started.
            instance: its object.

        Returns:
            What can be called now of the new version, and what went of the old one.
        """
        ...

    def withdraw(self, plugin: str, only: Sequence[FunctionSpec] | None = None) -> tuple[Endpoint, ...]:
        """Take a plugin's functions away, for good; calls that are inside go on.

        Args:
            plugin: whose.
            only: these alone; None for whatever the plugin has.

        Returns:
            What went.
        """
        ...

    def keep_only(self, plugin: str, specs: Collection[FunctionSpec]) -> None:
        """Let no rollback bring back other functions of a plugin than these: what they belong to has been replaced.

        Args:
            plugin: whose.
            specs: those of instances that still have their code and what they need.
        """
        ...

    def drain(self, endpoints: Sequence[Endpoint], timeout: float) -> tuple[str, ...]:
        """Wait until nobody is inside functions that were taken away.

        Args:
            endpoints: those.
            timeout: seconds to wait at most.

        Returns:
            The names of the functions with calls that have not ended.
        """
        ...

    def retire(self, bundle: PluginBundle) -> None:
        """Let go of a version whose instance has stopped, if its code is in processes of its own, and end those.

        What is in this process stays for a rollback until the next version comes: it can be called without its object.

        Args:
            bundle: the version.
        """
        ...

    def in_use(self, endpoints: Sequence[Endpoint]) -> bool:
        """Tell whether any of these can be called: a rollback may have brought them back."""
        ...

    def publish(self, records: Mapping[str, PluginRecord], events: Sequence[object]) -> None:
        """Take over the records of all plugins, and queue what happened. On the control loop: nothing else may be done.

        Args:
            records: name → record, in the order in which the plugins were declared.
            events: what happened to them, in order.
        """
        ...

    def deliver(self) -> None:
        """Deliver what was queued, to hooks and subscribers."""
        ...
