"""Converting one value: by msgspec wherever it can express the whole annotation, else piece by piece."""

import contextlib
from collections.abc import Callable, Iterable
from typing import Any, Final
from weakref import WeakValueDictionary

import msgspec

from jackfield.contract.payload.descent import descending
from jackfield.contract.payload.leaves import converter, scalar
from jackfield.contract.payload.limits import is_mapping
from jackfield.contract.payload.members import one_of
from jackfield.contract.payload.misfit import Misfit, stranger, type_name
from jackfield.contract.payload.nodes import Plan, plan_of
from jackfield.contract.shapes import (
    SCALARS,
    Anything,
    Array,
    Checked,
    Choice,
    Fixed,
    Foreign,
    Leaf,
    Record,
    Table,
    View,
    identity,
    render,
)

_PLAIN: Final = frozenset({int, float, str, bool, type(None)})
# The plan of a class, as long as somebody uses it: the codecs of its functions keep it, and with the last of them it
# goes, so that a plugin's class is not kept alive. It is two thirds of what a registration costs.
_plans: Final["WeakValueDictionary[Any, Plan]"] = WeakValueDictionary()


def draw(annotation: Any) -> Plan:
    """Draw up the plan of an annotation, or give the one that functions of the same class share.

    Args:
        annotation: an evaluated annotation.
    """
    kept = _plans.get(identity(annotation)) if isinstance(annotation, type) else None
    return kept if kept is not None else plan_of(annotation)


def compile_plan(annotation: Any, shape: View | None = None, drawn: Iterable[Plan] = ()) -> Plan:
    """Compile the plan of an annotation.

    Args:
        annotation: an evaluated annotation.
        shape: what it is made of, where that is known better than `view` can tell.
        drawn: the plan of the annotation, or plans of its parts, if `draw` has made them already.

    Returns:
        The plan, whose `take` converts a value or raises `Misfit`.
    """
    cached = shape is None and isinstance(annotation, type)
    if cached and (kept := _plans.get(identity(annotation))) is not None:
        return kept
    mine = [plan for plan in drawn if shape is None]
    root = mine[0] if mine else plan_of(annotation, shape, drawn)
    for plan in root.reach():
        plan.take = _quickest(plan)
    if cached:
        _plans[identity(annotation)] = root
    return root


def _quickest(plan: Plan) -> Callable[[Any], Any]:
    """Choose the quickest way to take values in that is right for the whole annotation."""
    shape = plan.view
    if isinstance(shape, Leaf) and identity(shape.type) in SCALARS:
        return scalar(plan)
    box = _understood(plan.annotation) if plan.native and not isinstance(shape, Anything | Foreign) else None
    if box is None:
        return one_of(plan, compile_plan) if isinstance(shape, Leaf) else descending(plan)
    if isinstance(shape, Record) and shape.kind == "struct" and plan.traits.isdisjoint({"closed", "foreign"}):
        return _struct(plan)
    return _native(plan, box)


def _understood(annotation: Any) -> Any:
    """Give a class that holds one value of this type, for msgspec to convert into; None if it cannot express the type.

    `msgspec.convert` works out anew on every call what a type means unless it is a Struct. Converting `(value,)` into a
    Struct of one field takes a ninth of the time for `dict[str, list[int] | None]`, and less for an attrs class too.
    """
    try:
        box = msgspec.defstruct("Box", [("it", annotation)], array_like=True)
        with contextlib.suppress(msgspec.ValidationError):  # of the missing value: the type is understood
            msgspec.convert((), box)
    except Exception:  # noqa: BLE001  # it evaluates annotations, and refuses with several types of error
        return None
    return box


def _native(plan: Plan, box: Any) -> Callable[[Any], Any]:
    convert, descend, instances = converter(plan), descending(plan), plan.instances
    closed, table = plan.closed, isinstance(plan.view, Table)
    # A dict of which nothing is missing after conversion had no unknown keys, if nothing inside it could have any.
    flat = isinstance(plan.view, Record) and plan.view.type is dict and not plan.closed_fields

    def take(value: Any) -> Any:
        if instances and isinstance(value, instances):
            return value
        try:
            taken = convert((value,), box).it
        except (RecursionError, MemoryError):
            raise
        except Exception:  # noqa: BLE001  # payload classes run code of their own; what is wrong is found out below
            taken = descend(value)
            if type(value) in _PLAIN:  # nothing about it that msgspec does not know: an `int` of an enum or a `Decimal`
                raise Misfit("", render(plan.annotation), f"another {type_name(value)}") from None
            return taken
        if table and len(taken) != len(value):  # two keys mean the same, as "1" and "1.0" do
            return descend(value)
        if closed and not (flat and len(taken) == len(value)):  # msgspec leaves unknown keys out
            _refuse_strangers(plan, value)
        return taken

    return take


def _struct(plan: Plan) -> Callable[[Any], Any]:
    """Do the same for the one kind of class that msgspec converts to without any detour."""
    convert, descend, instances, cls = converter(plan), descending(plan), plan.instances, plan.annotation

    def take(value: Any) -> Any:
        if isinstance(value, instances):
            return value
        try:
            return convert(value, cls)
        except (RecursionError, MemoryError):
            raise
        except Exception:  # noqa: BLE001  # as above
            return descend(value)

    return take


def _refuse_strangers(plan: Plan, value: Any) -> None:  # noqa: C901, PLR0912  # one case for each shape
    """Refuse unknown keys inside a value that msgspec has accepted, since it ignores them."""
    shape = plan.view
    step: Any = ""  # where we are, for the error
    try:
        match shape:
            case Record() if is_mapping(value):
                if shape.closed and not shape.names.issuperset(value):
                    raise stranger(value, shape.fields)
                for name, child in plan.closed_fields:
                    step = f".{name}"
                    if name in value:
                        _refuse_strangers(child, value[name])
            case Array() if isinstance(value, list | tuple):
                (child,) = plan.children
                for step, item in enumerate(value):  # noqa: B007  # used if it fails
                    _refuse_strangers(child, item)
            case Fixed() if isinstance(value, list | tuple):  # one with a `rest` is never native
                for step, item in enumerate(value):
                    _refuse_strangers(plan.children[step], item)
            case Table() if is_mapping(value):
                step = "[...]"
                for item in value.values():
                    _refuse_strangers(plan.children[1], item)
            case Choice() | Checked():
                for child in plan.children:
                    _refuse_strangers(child, value)
            case _:
                pass
    except Misfit as misfit:
        misfit.path = f"[{step}]{misfit.path}" if isinstance(step, int) else step + misfit.path
        raise
