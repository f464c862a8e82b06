"""The plan of an annotation: a node for each type in it, before anything is decided about conversion."""

from collections.abc import Callable, Iterable, Iterator
from enum import EnumMeta
from typing import Any, Final, Literal, get_origin

import attrs

from jackfield.contract.shapes import (
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
    children,
    identity,
    is_pydantic,
    render,
    strip,
    view,
)
from jackfield.model.size import PARTS, TYPES, TooLarge

SIZED: Final = (str, bytes, bytearray)
"""The types whose values may be long, and are never taken for sequences."""

_UNIONS: Final = 10  # within each other, by aliases
_NONE: Final = Leaf(type(None))


Trait = Literal["closed", "foreign", "keyed", "unfit"]
"""`closed`: unknown keys are refused. `foreign`: msgspec has to ask what a class takes. `keyed`: the keys of a mapping
are no text. `unfit`: msgspec does something else than what is right."""


@attrs.define(eq=False)
class Plan:
    """How values of one annotation are taken in. Types may be recursive, and so may plans.

    Attributes:
        annotation: as it was evaluated.
        view: its shape.
        children: the plans of what the shape is made of.
        closed_fields: of a record, the fields inside which unknown keys are refused.
        traits: what is so of this plan or of any beneath it, see `Trait`.
        take: a value → what the function gets; raises `Misfit`. Set once the whole tree is there.
    """

    annotation: Any
    view: View
    children: "tuple[Plan, ...]" = ()
    closed_fields: "tuple[tuple[str, Plan], ...]" = ()
    traits: frozenset[Trait] = frozenset()
    take: Callable[[Any], Any] = attrs.field(init=False)

    def reach(self) -> "Iterator[Plan]":
        """Give this plan and all beneath it, each once."""
        left: list[Plan] = [self]
        seen = {id(self)}
        while left:
            plan = left.pop()
            yield plan
            fresh = [child for child in plan.children if id(child) not in seen]
            seen.update(map(id, fresh))
            left.extend(fresh)

    @property
    def closed(self) -> bool:
        """Whether unknown keys are refused anywhere inside."""
        return "closed" in self.traits

    @property
    def free(self) -> bool:
        """Whether any value will do."""
        return isinstance(self.view, Anything) and self.view.note is None

    @property
    def native(self) -> bool:
        """Whether msgspec does what is right for the whole annotation, if it understands it."""
        return "unfit" not in self.traits

    @property
    def oddly_keyed(self) -> bool:
        """Whether keys are of a class that msgspec does not know: it takes any text for them, and never asks."""
        return isinstance(self.view, Table) and any(isinstance(plan.view, Foreign) for plan in self.children[0].reach())

    @property
    def deadly(self) -> bool:
        """Whether msgspec would write beyond its memory: 0.22 does for a bound or a pattern beside some containers."""
        if not isinstance(self.view, Choice | Checked):
            return False
        members = [member for member in _members(self) if member[1].view != _NONE]
        return (
            any(bound for bound, _ in members)
            and any(isinstance(plan.view, Array | Table | Fixed) for _, plan in members)
            and (len(members) > 1 or isinstance(members[0][1].view, Fixed))
        )

    @property
    def kind(self) -> Any:
        """The class behind the annotation."""
        bare = strip(self.annotation)
        return get_origin(bare) or bare

    @property
    def instances(self) -> tuple[type, ...]:
        """The classes whose instances, of subclasses too, are taken as they are."""
        return tuple(dict.fromkeys(self._classes()))

    def _classes(self) -> Iterator[type]:
        match self.view:
            case Record(type=cls, kind=kind) if kind not in {"typeddict", "parameters"}:
                yield cls
            case Leaf(type=cls) if isinstance(cls, type):
                yield cls
            case Foreign(type=cls) if isinstance(cls, type) and is_pydantic(cls):
                yield cls
            case Choice():
                for child in self.children:
                    if not isinstance(child.view, Leaf):  # `bool` is an `int`: scalars are told apart by the members
                        yield from child.instances

    @property
    def trusted(self) -> type | None:
        """The class whose direct instances need no look at all."""
        match self.view:
            case Leaf(type=cls) | Foreign(type=cls) if isinstance(cls, type):
                found: type | None = None if cls in SIZED else cls
            case Array(kind=kind, make=make) if kind is make and self.children[0].free:
                found = make
            case Record():
                found = next(iter(self.instances), None)
            case _:
                found = None
        return found


def _members(plan: Plan, bound: bool = False, depth: int = 0) -> Iterator[tuple[bool, Plan]]:
    """Give the members of a union and of unions in it, with whether they are constrained."""
    if not isinstance(plan.view, Choice | Checked) or depth == _UNIONS:
        yield bound, plan
        return
    for child in plan.children:
        yield from _members(child, bound or isinstance(plan.view, Checked), depth + 1)


def plan_of(annotation: Any, shape: View | None = None, drawn: Iterable[Plan] = ()) -> Plan:
    """Draw up the plan of an annotation, all beneath it included.

    Args:
        annotation: an evaluated annotation.
        shape: what it is made of, where that is known better than `view` can tell.
        drawn: plans of parts of it that there are already.
    """
    book = {identity(plan.annotation): plan for plan in drawn}
    root = book[identity(annotation)] = Plan(annotation, view(annotation) if shape is None else shape)
    waiting = [root]
    for plan in waiting:  # grows on the way; types may be recursive, and so may plans
        plan.children = tuple(_plan_of(child, book, waiting) for child in children(plan.view))
    _spread(waiting)
    for plan in waiting:
        if isinstance(plan.view, Record):
            pairs = zip(plan.view.fields, plan.children, strict=False)
            plan.closed_fields = tuple((field.name, child) for field, child in pairs if child.closed)
    return root


def _spread(plans: list[Plan]) -> None:
    """Set the traits of new plans: their own, and those of all beneath them, in time that grows with their number."""
    users: dict[Plan, list[Plan]] = {}
    sizes: dict[Plan, int] = {}
    for plan in plans:
        plan.traits = frozenset(_own_traits(plan))
        if _size(plan, sizes) > PARTS:  # written out, as msgspec does: aliases of aliases may be small until then
            plan.traits |= frozenset[Trait]({"unfit"})
        for child in plan.children:
            users.setdefault(child, []).append(plan)
    left = list(users)
    while left:
        child = left.pop()
        for plan in users.get(child, ()):
            if not child.traits <= plan.traits:
                plan.traits |= child.traits
                left.append(plan)


def _size(plan: Plan, known: dict[Plan, int]) -> int:
    """Count the types that a plan is made of, each as often as it is met; of a record, or within itself, it is one."""
    size = known.get(plan)
    if size is None:
        size = known[plan] = 1
        for child in plan.children:
            size += 1 if isinstance(child.view, Record) else _size(child, known)
        known[plan] = size
    return size


def _own_traits(plan: Plan) -> Iterator[Trait]:
    match plan.view:
        case Record(closed=True):
            yield "closed"
        case Foreign():
            yield "foreign"
        case Table() as table if (kind := strip(table.key)) is not str and kind is not Any:
            yield "keyed"
        case Leaf(type=cls) if isinstance(cls, EnumMeta) and _is_odd(cls):
            yield "unfit"  # msgspec refuses most of them, and overlooks values that cannot be hashed
    if not getattr(plan.view, "native", True) or plan.deadly or plan.oddly_keyed:
        yield "unfit"


def _is_odd(kind: Any) -> bool:
    """Tell an enum with other values than numbers and texts."""
    return not all(isinstance(member.value, int | str) for member in kind)


def _plan_of(annotation: Any, book: dict[Any, Plan], waiting: list[Plan]) -> Plan:
    known = book.get(identity(annotation))
    if known is None:
        # A generic class may have a field of itself with ever longer arguments.
        kept = annotation if len(book) < TYPES else TooLarge(render(annotation))
        known = Plan(kept, view(kept))
        book[identity(annotation)] = known
        waiting.append(known)
    return known


def note_of(plan: Plan) -> str | None:
    """Say what of an annotation cannot be checked, for `FunctionSpec.notes`; None when all of it can.

    Args:
        plan: the plan of the annotation.

    Examples:
        >>> note_of(plan_of(list["Nowhere"]))
        'Nowhere cannot be checked: any value is passed on'
    """
    notes = (note for part in plan.reach() if (note := getattr(part.view, "note", None)) is not None)
    return "; ".join(dict.fromkeys(notes)) or None
