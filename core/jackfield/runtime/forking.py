"""Hosts and forks: threads and loops do not survive one, so a host that is used in the child says so."""

import os
import weakref
from typing import Any, Protocol

from jackfield.model.route import Route
from jackfield.model.snapshot import Snapshot


class Forkable(Protocol):
    """What must be told when its process was forked."""

    def disown(self) -> None:
        """Refuse to work in this process, without taking a lock: whoever held it did not survive the fork."""


_living: "weakref.WeakSet[Any]" = weakref.WeakSet()


def watch(host: Forkable) -> None:
    """Have a host told in every child process, for as long as it lives; this costs nobody's call anything."""
    _living.add(host)


def everywhere(route: Route) -> Snapshot:
    """Give a snapshot in which every name leads to one route."""
    return Snapshot(routes=_Everywhere(route))


class _Everywhere(dict[str, Route]):
    def __init__(self, route: Route) -> None:
        self._route = route

    def __missing__(self, _name: str) -> Route:
        return self._route

    def __contains__(self, _name: object) -> bool:
        return True

    def get(self, _name: str, _default: Any = None) -> Route:
        return self._route


def _after_fork() -> None:
    for host in list(_living):
        host.disown()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
