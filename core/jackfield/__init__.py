"""Call any function that any installed package advertises, by name: injected, with a deadline that holds, observed."""

from jackfield.canary import Canary, CanaryState, CanaryStatus
from jackfield.contract import function
from jackfield.dispatch import Caller
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
    MissingDependency,
    Outcome,
    PayloadError,
    PermissionDenied,
    PluginError,
    Rejected,
    ResourceExhausted,
    Unavailable,
)
from jackfield.events import EventBus, FunctionRegistered, FunctionUnregistered, RouteChanged
from jackfield.handles import Function, Registration
from jackfield.hooks import hookimpl
from jackfield.host import Host
from jackfield.injection.markers import inject, provides
from jackfield.model.call import Call, current_call
from jackfield.model.deadline import check_deadline, deadline, remaining
from jackfield.model.options import Config
from jackfield.model.snapshot import Snapshot
from jackfield.model.spec import FunctionSpec, Key
from jackfield.observe.logger import Logger
from jackfield.observe.logs import Logs
from jackfield.observe.metrics import Metrics
from jackfield.observe.spans import Spans

__all__ = [
    "AsyncCallRequired",
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
    "Function",
    "FunctionCrashed",
    "FunctionNotFound",
    "FunctionRegistered",
    "FunctionSpec",
    "FunctionUnregistered",
    "Host",
    "InjectionError",
    "JackfieldError",
    "Key",
    "Logger",
    "Logs",
    "Metrics",
    "MissingDependency",
    "Outcome",
    "PayloadError",
    "PermissionDenied",
    "PluginError",
    "Registration",
    "Rejected",
    "ResourceExhausted",
    "RouteChanged",
    "Snapshot",
    "Spans",
    "Unavailable",
    "check_deadline",
    "current_call",
    "deadline",
    "function",
    "hookimpl",
    "inject",
    "provides",
    "remaining",
]
