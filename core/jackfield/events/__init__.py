"""The event bus: typed publish and subscribe inside one host.

Two kinds of events travel here:

- **announced** ones, by the host alone: what happened to functions, routes and plugins. Every subscriber gets all of
  them, in the order of the revisions, and the change's author waits for the subscribers (`Announcement.wait`).
- **published** ones, by plugins and embedders: values of any attrs, dataclass or `msgspec.Struct` type, copied through
  that type's contract, in a bounded queue for each subscriber.

The parts: `announced` (the host's events), `values` (copying), `mailbox` (one subscriber's queue), `crew` (the
threads), `subscription` (what a subscriber holds), `bus` (who listens to what).
"""

from jackfield.events.announced import (
    HOST_EVENTS,
    FunctionRegistered,
    FunctionUnregistered,
    HostEvent,
    PluginFailed,
    PluginStarted,
    PluginStateChanged,
    PluginStopped,
    RouteChanged,
)
from jackfield.events.bus import EventBus
from jackfield.events.mailbox import Announcement, SubscriptionStats, WhenFull, in_handler
from jackfield.events.scoped import PluginBus
from jackfield.events.subscription import Subscription

__all__ = [
    "HOST_EVENTS",
    "Announcement",
    "EventBus",
    "FunctionRegistered",
    "FunctionUnregistered",
    "HostEvent",
    "PluginBus",
    "PluginFailed",
    "PluginStarted",
    "PluginStateChanged",
    "PluginStopped",
    "RouteChanged",
    "Subscription",
    "SubscriptionStats",
    "WhenFull",
    "in_handler",
]
