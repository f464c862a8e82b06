"""What the carrying out of a plan asks of a host."""

from collections.abc import Mapping
from typing import Protocol

from jackfield.config import Configuration, PluginConfig, RouteConfig, TenantConfig
from jackfield.desired.state import Actual, Tried
from jackfield.errors import Fault
from jackfield.model.flow import Flow


class Steps(Protocol):
    """What can be done to a host, without noting who did it. Every step raises a `JackfieldError` when it fails."""

    def actual(self) -> Actual:
        """Look at what is there."""
        ...

    def load(self, plugin: PluginConfig, *, start: bool) -> tuple[Fault, ...]:
        """Load a plugin, and start it if the host runs and `start` says so; give what was left out of it."""
        ...

    def unload(self, name: str, *, keep_state: bool = False) -> tuple[Fault, ...]:
        """Stop a plugin and release all that it holds, but for its state if asked; give what could not be released."""
        ...

    def reload(self, name: str) -> tuple[Fault, ...]:
        """Replace a plugin by what its file or folder holds now; give what went wrong beside that."""
        ...

    def upgrade(self, plugin: PluginConfig, *, share: float | None = None, force: bool = False) -> None:
        """Bring another version of a plugin beside the running one, to be tried by whom its configuration says.

        Args:
            plugin: what it is to be loaded by.
            share: another share than that says: the one that it had when the host ended.
            force: also one that is not compatible.
        """
        ...

    def trials(self) -> Mapping[str, Tried] | None:
        """Give what is on trial, by the name of each trial; None when the host does not run."""
        ...

    def try_again(self, tried: Tried) -> None:
        """Begin a trial as it was when the host ended."""
        ...

    def start(self, name: str) -> None:
        """Start a plugin."""
        ...

    def hold(self, name: str) -> None:
        """Have a plugin start as soon as what it depends on runs."""
        ...

    def stop(self, name: str) -> None:
        """Stop a plugin."""
        ...

    def route(self, name: str, rule: RouteConfig | None, *, default: str | None) -> None:
        """Take over what the file says of a function's versions.

        Args:
            name: the function.
            rule: what it says; None for nothing.
            default: the default version that somebody else has chosen, and that stays.
        """
        ...

    def tenants(self, tenants: Mapping[str, TenantConfig] | None) -> None:
        """Take over what the file says of tenants."""
        ...

    def flows(self, flows: Mapping[str, tuple[Flow, ...]]) -> tuple[Fault, ...]:
        """Have the flows that the file says, and no others of an earlier one; give what could not come in."""
        ...

    def schedules(self, configuration: Configuration) -> None:
        """Follow the schedules of a file."""
        ...

    def deliveries(self, configuration: Configuration) -> None:
        """Send results where a file says."""
        ...

    def ramp(self, name: str, share: float) -> None:
        """Give the trial of a function or plugin another share."""
        ...

    def promote(self, name: str) -> None:
        """Make the version of a trial the default, if it still runs."""
        ...

    def abort(self, name: str) -> None:
        """End the trial of a function or plugin, if it still runs."""
        ...
