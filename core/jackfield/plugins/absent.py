"""Why there is nothing to call under a name: its plugin does not run, it is left out, or nobody knows it."""

from jackfield.errors import FunctionNotFound, JackfieldError, Unavailable
from jackfield.model.call import Call
from jackfield.model.names import close_names
from jackfield.model.record import PluginRecord, PluginState
from jackfield.model.snapshot import Snapshot
from jackfield.plugins.inventory import Inventory
from jackfield.plugins.lifecycle import Lifecycle


def why_absent(call: Call, snapshot: Snapshot, inventory: Inventory, lifecycle: Lifecycle) -> JackfieldError:
    """Make the error of a call that finds no function, or not the version that it names.

    Args:
        call: the call.
        snapshot: what it was looked up in.
        inventory: knows what was left out, and what is known by name alone.
        lifecycle: knows the plugins as they are at this moment.

    Returns:
        `Unavailable`, with the plugin's state and what would help, where a plugin has the function and does not run;
        else `FunctionNotFound`, with the fault, the versions or the close names.
    """
    route = snapshot.functions.get(call.name)
    spec = inventory.spec(call.name, call.version) if call.version else None
    named = snapshot.plugins.get(spec.plugin) if spec is not None else None
    if named is not None and _is_idle(named):
        return _unavailable(call.name, named, lifecycle)
    if route is not None:
        return FunctionNotFound(call.name, version=call.version, versions=tuple(sorted(route.endpoints)))
    advertising = (each for each in snapshot.plugins.values() if call.name in each.advertised and _is_idle(each))
    if (idle := next(advertising, None)) is not None:
        return _unavailable(call.name, idle, lifecycle)
    waiting = inventory.first_use.waiting
    if call.name in waiting:
        why = "it is still being imported; do not call it while its plugin, or one that it needs, is imported"
        return Unavailable(call.name, why, "blocked", ran=False)
    fault = next((fault for fault in inventory.faults if fault.entry.partition("@")[0] == call.name), None)
    known = () if fault else {*snapshot.functions, *waiting}
    denial = snapshot.permissions.denial  # a tenant learns no names of what it may not call
    close = tuple(name for name in close_names(call.name, known) if not denial(name, call.tenant, False))  # noqa: FBT003  # picks no version
    return FunctionNotFound(call.name, close, call.version or None, fault=fault)


def _unavailable(name: str, record: PluginRecord, lifecycle: Lifecycle) -> Unavailable:
    """Say why a function that is known cannot be called now, and what would help."""
    # The snapshot learns of a change a moment later: a start that calls its own function is quicker.
    now = lifecycle.record(record.name)
    record = now if now is not None and _is_idle(now) else record
    fault = record.fault
    why = f": {fault.reason}" if fault is not None else ""
    help_ = "wait for that" if record.state is PluginState.STARTING else f"start it: `pluginctl start {record.name}`"
    fix = fault.fix if fault is not None and fault.fix else help_
    cause = {PluginState.FAILED: "start_failed", PluginState.BLOCKED: "blocked"}.get(record.state, "stopped")
    is_so = "has failed" if record.state is PluginState.FAILED else f"is {record.state}"
    return Unavailable(name, f"its plugin {record.name!r} {is_so}{why}; {fix}", cause, ran=False)


def _is_idle(record: PluginRecord) -> bool:
    return record.state not in {PluginState.RUNNING, PluginState.UNLOADED}
