"""The events that the host itself announces: frozen values, shared as they are.

`revision` is that of the snapshot which the change made. A subscriber that reads the snapshot after it has subscribed
skips the events whose revision is not above that snapshot's, and is in step from then on.
"""

import attrs

from jackfield.errors import Fault
from jackfield.model.spec import FunctionSpec


@attrs.frozen
class HostEvent:
    """Any of them: whoever subscribes to this gets all kinds in one order."""


@attrs.frozen
class FunctionRegistered(HostEvent):
    """A version of a function became callable.

    Attributes:
        function: what loading learned of it.
        revision: the first revision that has it.
    """

    function: FunctionSpec
    revision: int


@attrs.frozen
class FunctionUnregistered(HostEvent):
    """A version of a function is no longer callable.

    Attributes:
        function: what loading learned of it.
        revision: the first revision without it.
    """

    function: FunctionSpec
    revision: int


@attrs.frozen
class RouteChanged(HostEvent):
    """Calls of a function that name no version go elsewhere than before.

    Attributes:
        name: the function's name.
        default: the version they go to now.
        revision: the first revision in which they do.
    """

    name: str
    default: str
    revision: int


@attrs.frozen
class PluginStarted(HostEvent):
    """A plugin runs.

    Attributes:
        plugin: its name.
        version: its version.
    """

    plugin: str
    version: str


@attrs.frozen
class PluginStopped(HostEvent):
    """A plugin was stopped in order.

    Attributes:
        plugin: its name.
    """

    plugin: str


@attrs.frozen
class PluginFailed(HostEvent):
    """A plugin could not be started, or failed while it ran.

    Attributes:
        plugin: its name.
        fault: the stage, the reason and the fix.
    """

    plugin: str
    fault: Fault


@attrs.frozen
class PluginStateChanged(HostEvent):
    """A plugin went from one state to another; also announced for the changes that have an event of their own.

    Attributes:
        plugin: its name.
        old: the state it left, as in `starting`.
        new: the state it is in.
    """

    plugin: str
    old: str
    new: str


HOST_EVENTS = (
    FunctionRegistered,
    FunctionUnregistered,
    RouteChanged,
    PluginStarted,
    PluginStopped,
    PluginFailed,
    PluginStateChanged,
)
"""What only the host announces; publishing one of these is refused."""
