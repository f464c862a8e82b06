"""The immutable state that a whole call sees, and all that there is to know of a host at one moment."""

from collections.abc import Mapping
from types import MappingProxyType

import attrs

from jackfield.model.canary import CanaryStatus
from jackfield.model.permissions import Permissions
from jackfield.model.record import PluginRecord
from jackfield.model.route import Route, Rule


@attrs.frozen(eq=False)
class Snapshot:
    """Everything that is decided of a host, at one moment.

    Attributes:
        revision: grows by one when functions or rules change; not when a function is compiled anew, nor when a plugin
            comes to another state.
        routes: name → route; the plain dict for the call path, which nobody may change.
        plugins: name → record, in the order in which they were declared: their rank.
        rules: name → what the configuration and operators say of a function's versions, registered or not.
        canaries: those that run, and the last few that have ended, in the order in which they began.
        permissions: what tenants may do.
        functions: the same as `routes`, read-only.
    """

    revision: int = 0
    routes: dict[str, Route] = attrs.field(factory=dict)
    plugins: Mapping[str, PluginRecord] = MappingProxyType({})
    rules: Mapping[str, Rule] = MappingProxyType({})
    canaries: tuple[CanaryStatus, ...] = ()
    permissions: Permissions = attrs.field(factory=Permissions)
    functions: Mapping[str, Route] = attrs.field(
        init=False, default=attrs.Factory(lambda self: MappingProxyType(self.routes), takes_self=True)
    )
