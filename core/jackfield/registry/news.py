"""What is told of a change: to hooks and to the event bus."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from jackfield.events import (
    EventBus,
    FunctionRegistered,
    FunctionUnregistered,
    PluginStarted,
    PluginStopped,
    RouteChanged,
    in_handler,
)
from jackfield.hooks import Hooks
from jackfield.model.atomic import Link
from jackfield.model.route import Endpoint, Route
from jackfield.model.snapshot import Snapshot
from jackfield.model.spec import FunctionSpec
from jackfield.registry.courier import Courier
from jackfield.registry.registry import Commit, Registry

_PATIENCE: Final = 1.0  # seconds that a change waits until everybody has been told of it

HookCall = tuple[str, dict[str, Any]]


class News:
    """Tells hooks and subscribers of what was committed, each audience by itself: a hook that hangs holds no event up.

    Args:
        registry: whose changes.
        hooks: are called in the thread that tells.
        events: queues for its subscribers.
    """

    def __init__(self, registry: Registry, hooks: Hooks, events: EventBus) -> None:
        self._hooks = hooks
        self._events = events
        self._to_bus = Courier(registry, self._announce, lambda: "the event bus")
        self._to_hooks = Courier(registry, self._notify, lambda: hooks.running)

    def tell(self, until: int) -> None:
        """Tell, or wait for the thread that does: a second at most, and not from within a hook or a handler.

        Args:
            until: the number of the change that hooks are to have seen, and subscribers to find in their queues.
        """
        patience = 0.0 if self._is_here or in_handler() else _PATIENCE
        self._to_bus.deliver(until, patience)
        self._to_hooks.deliver(until, patience)

    def settle(self, link: Link[Commit]) -> None:
        """Do the same, and wait until the subscribers have seen it, too: another second at most.

        Args:
            link: the change.
        """
        inside = self._is_here
        self.tell(link.number)
        announcement = link.value.announcement
        if announcement is not None and not inside:
            announcement.wait()

    @property
    def _is_here(self) -> bool:
        return self._to_hooks.is_here or self._to_bus.is_here

    def _announce(self, commit: Commit) -> None:
        events, commit.events = commit.events, ()
        if events:
            commit.announcement = self._events.announce(events)

    def _notify(self, commit: Commit) -> None:
        retired, commit.retired = commit.retired, ()
        for endpoint in retired:
            endpoint.close()
        calls, commit.hooks = commit.hooks, ()
        for hook, arguments in calls:
            self._hooks.tell(hook, arguments)


def news_of(
    before: Snapshot,
    after: Snapshot,
    added: Iterable[FunctionSpec],
    removed: Sequence[Endpoint],
    touched: Iterable[str],
) -> tuple[tuple[HookCall, ...], tuple[object, ...]]:
    """Give the hooks to call and the events to announce for a change.

    Args:
        before: what was there.
        after: what is there now.
        added: the specs that have come.
        removed: the endpoints that have gone.
        touched: names of functions whose route may have changed.
    """
    revision = after.revision
    hooks: list[HookCall] = [("jackfield_unregistered", {"function": endpoint.spec}) for endpoint in removed]
    hooks += [("jackfield_registered", {"function": spec}) for spec in added]
    events: list[object] = [FunctionUnregistered(endpoint.spec, revision) for endpoint in removed]
    events += [FunctionRegistered(spec, revision) for spec in added]
    there = [name for name in touched if name in before.routes and name in after.routes]
    moved = [name for name in there if _differ(before.routes[name], after.routes[name])]
    events += [RouteChanged(name, after.routes[name].default, revision) for name in moved]
    return tuple(hooks), tuple(events)


def hook_of(event: object) -> HookCall | None:
    """Give the hook that tells of what happened to a plugin, or None.

    Args:
        event: what happened.
    """
    match event:
        case PluginStarted(plugin=plugin):
            return "jackfield_plugin_started", {"plugin": plugin}
        case PluginStopped(plugin=plugin):
            return "jackfield_plugin_stopped", {"plugin": plugin}
    return None


def _differ(old: Route, new: Route) -> bool:
    return (old.default, old.split) != (new.default, new.split)
