"""What there is to see of a host: its status, and all of its state at one moment."""

import sys
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from time import monotonic
from types import FrameType
from typing import Any, Final

import attrs

from jackfield.host import Host
from jackfield.model.admitted import AdmissionStats
from jackfield.model.call import Call
from jackfield.operations import plugins, routes, schedules
from jackfield.sandbox.inspection import inspect

_FRAMES: Final = 100  # of one thread's stack


def status(host: Host, about: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
    """Give what an operator looks at first: plugins, canaries, faults, and how many calls are under way."""
    snapshot = host.snapshot
    inside: Counter[str] = Counter()
    for route in snapshot.functions.values():
        for endpoint in route.endpoints.values():
            inside[endpoint.spec.plugin] += len(endpoint.gate.calls)
    workers, tiers = host.workers, host.worker_tiers
    each = Counter(worker.plugin for worker in workers)
    return {
        **about(),
        "revision": snapshot.revision,
        "functions": len(snapshot.functions),
        "calls": len(host.calls),
        "plugins": [
            {**plugins.shown(record), "calls": inside[name], "tier": tiers.get(name), "workers": each[name]}
            for name, record in host.plugins.items()
        ],
        "workers": [attrs.asdict(worker) for worker in workers],
        "building": [attrs.asdict(build) for build in host.building],
        "canaries": routes.canary_list(host),
        "faults": [attrs.asdict(fault) for fault in host.faults],
        "admission": None if host.admission is None else admission(host.admission),
        "submissions": _submissions(host),
    }


def admission(stats: AdmissionStats) -> dict[str, Any]:
    """Give who runs, waits and was refused as plain data, by tenant and by function version."""
    received = sum(each.seconds for each in stats.tenants.values())
    due = sum(each.weight for each in stats.tenants.values())
    return {
        "limit": stats.limit,
        "inside": stats.inside,
        "tenants": [
            {
                "name": name,
                "weight": each.weight,
                "due": each.weight / due,
                "received": each.seconds / received if received else 0.0,
                "seats": each.seats,
                "priority": each.priority,
                "inside": each.inside,
                "waiting": each.waiting,
                "admitted": each.admitted,
                "refused": dict(each.refused),
                "left": each.left,
                "seconds": each.seconds,
                "waited": each.waited,
                "waits": list(each.waits.counts),
                "wait_p99": each.waits.within(0.99),
            }
            for name, each in stats.tenants.items()
        ],
        "functions": [{"function": key, **attrs.asdict(each)} for key, each in stats.functions.items()],
    }


def _submissions(host: Host) -> dict[str, Any] | None:
    counts = host.submission_counts
    return None if counts is None else {"waiting": counts.waiting, "running": counts.running, "oldest": counts.age}


def dump(host: Host, about: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
    """Give everything: as `status`, and routes, calls, queues, ledgers, sandboxes with their memory, and threads.

    Payloads, headers, options and the values of variables are never in it.
    """
    return {
        **status(host, about),
        "revisions": list(host.revisions),
        "routes": routes.show(host),
        "in_flight": [_call(call) for call in host.calls],
        "subscriptions": [attrs.asdict(stats) for stats in host.events.stats()],
        "ledgers": {plugin: dict(counts) for plugin, counts in host.ledgers.items()},
        "executors": {name: attrs.asdict(stats) for name, stats in host.executors.items()},
        "schedules": schedules.listed(host),
        "sandboxes": [
            {"plugin": worker.plugin, "version": worker.version, "pid": worker.pid, "tier": worker.tier}
            | (inspect(worker.pid) or {})
            for worker in host.workers
        ],
        "threads": threads(),
    }


def threads() -> list[dict[str, Any]]:
    """Give every thread of the process with its stack, as `file:line function`, outermost first: no values, no code."""
    stacks = sys._current_frames()  # noqa: SLF001  # the documented way, for debuggers
    found = [
        {"name": thread.name, "daemon": thread.daemon, "stack": _stack(stacks.get(thread.ident or 0))}
        for thread in threading.enumerate()
    ]
    return sorted(found, key=lambda row: str(row["name"]))


def _stack(frame: FrameType | None) -> list[str]:
    lines: list[str] = []
    while frame is not None and len(lines) < _FRAMES:
        code = frame.f_code
        lines.append(f"{code.co_filename}:{frame.f_lineno} {code.co_qualname}")
        frame = frame.f_back
    return lines[::-1]


def _call(call: Call) -> dict[str, Any]:
    return {
        "id": call.id,
        "function": call.name,
        "version": call.version,
        "revision": call.revision,
        "rule": call.rule,
        "tenant": call.tenant,
        "attempt": call.attempt,
        "parent": call.parent.id if call.parent is not None else None,
        "seconds_left": None if call.deadline is None else round(call.deadline - monotonic(), 3),
    }
