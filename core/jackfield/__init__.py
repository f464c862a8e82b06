"""Call any function that any installed package advertises, by name: injected, with a deadline that holds, observed.

Each public name is imported when it is first used: a command line that shows its help should not pay for a host.
"""

from typing import TYPE_CHECKING, Final

from jackfield.lazy import imported_from

if TYPE_CHECKING:
    from jackfield.calls.dispatch import Caller
    from jackfield.calls.handles import Function, Registration
    from jackfield.config import PluginConfig
    from jackfield.config.secrets import Secret
    from jackfield.decorators import decorates, function, hookimpl, inject, provides
    from jackfield.durable import Submission
    from jackfield.errors import (
        AsyncCallRequired,
        Cancelled,
        CaptiveDependency,
        ConfigError,
        ContractError,
        DeadlineExceeded,
        DependencyCycle,
        DuplicateFunction,
        Fault,
        FunctionCrashed,
        FunctionNotFound,
        InjectionError,
        JackfieldError,
        LeaseEnded,
        MissingDependency,
        Outcome,
        PayloadError,
        PermissionDenied,
        PluginError,
        Rejected,
        ResourceExhausted,
        StepFailed,
        StoreCompacted,
        StoreConflict,
        StoreUnusable,
        SubmissionConflict,
        Unavailable,
    )
    from jackfield.events import (
        EventBus,
        FunctionRegistered,
        FunctionUnregistered,
        HostEvent,
        PluginFailed,
        PluginStarted,
        PluginStateChanged,
        PluginStopped,
        RouteChanged,
    )
    from jackfield.host import Host
    from jackfield.model.call import Call, current_call
    from jackfield.model.canary import CanaryState, CanaryStatus
    from jackfield.model.deadline import check_deadline, deadline, remaining
    from jackfield.model.flow import Flow
    from jackfield.model.options import Config
    from jackfield.model.record import BuildRecord, Health, PluginRecord, PluginState, WorkerRecord, WorkerState
    from jackfield.model.snapshot import Snapshot
    from jackfield.model.spec import FunctionSpec, Key
    from jackfield.model.submission import SubmissionState
    from jackfield.observe.logger import Logger
    from jackfield.observe.logs import Logs
    from jackfield.observe.metrics import Metrics
    from jackfield.observe.spans import Spans
    from jackfield.observe.stdlib import to_logging
    from jackfield.operations.listener import ProbeServer
    from jackfield.operations.probes import Probes
    from jackfield.plugins.background import Background
    from jackfield.plugins.ledger import UnloadReport
    from jackfield.plugins.swap import SwapReport
    from jackfield.rollout import Analysis
    from jackfield.rollout.canary import Canary
    from jackfield.wire.documents import to_json

_HOMES: Final = {
    "Analysis": "jackfield.rollout",
    "AsyncCallRequired": "jackfield.errors",
    "Background": "jackfield.plugins.background",
    "Call": "jackfield.model.call",
    "Caller": "jackfield.calls.dispatch",
    "Canary": "jackfield.rollout.canary",
    "CanaryState": "jackfield.model.canary",
    "CanaryStatus": "jackfield.model.canary",
    "Cancelled": "jackfield.errors",
    "CaptiveDependency": "jackfield.errors",
    "Config": "jackfield.model.options",
    "ConfigError": "jackfield.errors",
    "ContractError": "jackfield.errors",
    "DeadlineExceeded": "jackfield.errors",
    "DependencyCycle": "jackfield.errors",
    "DuplicateFunction": "jackfield.errors",
    "EventBus": "jackfield.events",
    "Fault": "jackfield.errors",
    "Flow": "jackfield.model.flow",
    "Function": "jackfield.calls.handles",
    "FunctionCrashed": "jackfield.errors",
    "FunctionNotFound": "jackfield.errors",
    "FunctionRegistered": "jackfield.events",
    "FunctionSpec": "jackfield.model.spec",
    "FunctionUnregistered": "jackfield.events",
    "Health": "jackfield.model.record",
    "Host": "jackfield.host",
    "HostEvent": "jackfield.events",
    "InjectionError": "jackfield.errors",
    "JackfieldError": "jackfield.errors",
    "Key": "jackfield.model.spec",
    "LeaseEnded": "jackfield.errors",
    "Logger": "jackfield.observe.logger",
    "Logs": "jackfield.observe.logs",
    "Metrics": "jackfield.observe.metrics",
    "MissingDependency": "jackfield.errors",
    "Outcome": "jackfield.errors",
    "PayloadError": "jackfield.errors",
    "PermissionDenied": "jackfield.errors",
    "PluginConfig": "jackfield.config",
    "PluginError": "jackfield.errors",
    "PluginFailed": "jackfield.events",
    "PluginRecord": "jackfield.model.record",
    "PluginStarted": "jackfield.events",
    "PluginState": "jackfield.model.record",
    "PluginStateChanged": "jackfield.events",
    "PluginStopped": "jackfield.events",
    "Registration": "jackfield.calls.handles",
    "ProbeServer": "jackfield.operations.listener",
    "Probes": "jackfield.operations.probes",
    "Rejected": "jackfield.errors",
    "ResourceExhausted": "jackfield.errors",
    "RouteChanged": "jackfield.events",
    "Secret": "jackfield.config.secrets",
    "Snapshot": "jackfield.model.snapshot",
    "Spans": "jackfield.observe.spans",
    "StepFailed": "jackfield.errors",
    "StoreCompacted": "jackfield.errors",
    "StoreConflict": "jackfield.errors",
    "StoreUnusable": "jackfield.errors",
    "Submission": "jackfield.durable",
    "SubmissionConflict": "jackfield.errors",
    "SubmissionState": "jackfield.model.submission",
    "SwapReport": "jackfield.plugins.swap",
    "Unavailable": "jackfield.errors",
    "UnloadReport": "jackfield.plugins.ledger",
    "BuildRecord": "jackfield.model.record",
    "WorkerRecord": "jackfield.model.record",
    "WorkerState": "jackfield.model.record",
    "check_deadline": "jackfield.model.deadline",
    "current_call": "jackfield.model.call",
    "deadline": "jackfield.model.deadline",
    "decorates": "jackfield.decorators",
    "function": "jackfield.decorators",
    "hookimpl": "jackfield.decorators",
    "inject": "jackfield.decorators",
    "provides": "jackfield.decorators",
    "remaining": "jackfield.model.deadline",
    "to_json": "jackfield.wire.documents",
    "to_logging": "jackfield.observe.stdlib",
}

__all__ = [
    "Analysis",
    "AsyncCallRequired",
    "Background",
    "BuildRecord",
    "Call",
    "Caller",
    "Canary",
    "CanaryState",
    "CanaryStatus",
    "Cancelled",
    "CaptiveDependency",
    "Config",
    "ConfigError",
    "ContractError",
    "DeadlineExceeded",
    "DependencyCycle",
    "DuplicateFunction",
    "EventBus",
    "Fault",
    "Flow",
    "Function",
    "FunctionCrashed",
    "FunctionNotFound",
    "FunctionRegistered",
    "FunctionSpec",
    "FunctionUnregistered",
    "Health",
    "Host",
    "HostEvent",
    "InjectionError",
    "JackfieldError",
    "Key",
    "LeaseEnded",
    "Logger",
    "Logs",
    "Metrics",
    "MissingDependency",
    "Outcome",
    "PayloadError",
    "PermissionDenied",
    "PluginConfig",
    "PluginError",
    "PluginFailed",
    "PluginRecord",
    "PluginStarted",
    "PluginState",
    "PluginStateChanged",
    "PluginStopped",
    "ProbeServer",
    "Probes",
    "Registration",
    "Rejected",
    "ResourceExhausted",
    "RouteChanged",
    "Secret",
    "Snapshot",
    "Spans",
    "StepFailed",
    "StoreCompacted",
    "StoreConflict",
    "StoreUnusable",
    "Submission",
    "SubmissionConflict",
    "SubmissionState",
    "SwapReport",
    "Unavailable",
    "UnloadReport",
    "WorkerRecord",
    "WorkerState",
    "check_deadline",
    "current_call",
    "deadline",
    "decorates",
    "function",
    "hookimpl",
    "inject",
    "provides",
    "remaining",
    "to_json",
    "to_logging",
]


__getattr__ = imported_from(_HOMES, __name__)


def __dir__() -> list[str]:
    """List the public names, imported or not."""
    return sorted({*globals(), *__all__})
