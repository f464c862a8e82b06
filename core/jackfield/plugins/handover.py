"""The state that an old instance of a plugin hands to a new one: taken as bytes, given back as what it was."""

from collections.abc import Callable
from typing import Any

import msgspec

from jackfield.errors import PluginError
from jackfield.injection.hints import evaluate, signature
from jackfield.plugins.instance import Instance
from jackfield.stack import blamed, raised_here
from jackfield.strangers import is_a

_PLAIN = "give plain data (dict, list, str, int, bytes, …) or an attrs, dataclass or msgspec.Struct value of it"


def take_state(instance: Instance, ends: float) -> bytes | None:
    """Ask a plugin object for its state.

    Args:
        instance: the object, whose `snapshot()` gives the state.
        ends: when to cancel `snapshot` if it is async, on `time.monotonic`'s clock.

    Returns:
        The state as MessagePack, ready to be stored; None if the object has no `snapshot`, or gives None.

    Raises:
        PluginError: if `snapshot` raises or takes too long, or gives what cannot be stored: the reason names what.
    """
    state = instance.checked("snapshot", ends=ends)
    if state is None:
        return None
    try:
        return msgspec.msgpack.encode(state)
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
        reason = f"snapshot() gave what cannot be stored: {_culprit(state, error)}"
        raise PluginError(instance.plugin, "snapshot", reason, _PLAIN) from error


def give_state(instance: Instance, state: bytes, ends: float) -> bool:
    """Hand a state to a plugin object that has not started yet.

    If the parameter of `restore` is annotated, the state is checked against that type and converted to it.

    Args:
        instance: the object, whose `restore(state)` takes it.
        state: as `take_state` gave it.
        ends: when to cancel `restore` if it is async, on `time.monotonic`'s clock.

    Returns:
        Whether the object has a `restore`.

    Raises:
        PluginError: if the state does not fit the annotation, or `restore` raises or takes too long.
    """
    restore = instance.method("restore")
    if restore is None:
        return False
    try:
        value = msgspec.msgpack.decode(state, type=_wanted(restore))
    except (TypeError, ValueError, msgspec.MsgspecError) as error:
        fix = "let restore() take what snapshot() of the other version gives"
        raise PluginError(instance.plugin, "restore", f"the state does not fit: {_unfit(error)}", fix) from error
    instance.checked("restore", value, ends=ends)
    return True


def _wanted(restore: Callable[..., Any]) -> Any:
    """Give the type that `restore` wants, or Any when it does not say, or says what msgspec cannot express."""
    try:
        first = next(iter(signature(restore).parameters.values()))
        hint = Any if first.annotation is first.empty else evaluate(restore, first.name, first.annotation)
        msgspec.msgpack.Decoder(hint)
    except Exception:  # noqa: BLE001  # evaluating annotations runs foreign code
        return Any
    return hint


def _culprit(state: Any, error: Exception) -> str:
    """Find the part that cannot be encoded; give its path and what is wrong with it, never its value."""
    if is_a(error, RecursionError):
        return "something that contains itself"
    path, value, found = "$", state, True
    while found:
        found = False
        for step, part in _parts(value):
            try:
                msgspec.msgpack.encode(part)
            except Exception as worse:  # noqa: BLE001  # whatever it is, the culprit is in there
                path, value, error, found = path + step, part, worse, True
                break
    said = f" ({error})" if raised_here(error) else ""
    return f"{path} is {type(value).__qualname__}{said}"


def _unfit(error: Exception) -> str:
    """Say what msgspec says of a state, unless that may be a value or the text of a class's own check."""
    values = ("Invalid enum value", "Invalid value")
    if error.__cause__ is None and raised_here(error) and not str(error).startswith(values):
        return str(error)
    return blamed(error.__cause__ or error)


def _is_field(key: object) -> bool:
    return isinstance(key, int) or (isinstance(key, str) and key.isidentifier())


def _parts(value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        keys = [(f"[key {type(key).__qualname__}]", key) for key in value]
        return [*keys, *((f"[{key!r}]" if _is_field(key) else "[…]", part) for key, part in value.items())]
    if isinstance(value, list | tuple | set | frozenset):
        return [(f"[{index}]", part) for index, part in enumerate(value)]
    names = getattr(type(value), "__struct_fields__", None) or [
        *getattr(type(value), "__dataclass_fields__", ()),
        *(field.name for field in getattr(type(value), "__attrs_attrs__", ())),
    ]
    return [(f".{name}", getattr(value, name, None)) for name in names]
