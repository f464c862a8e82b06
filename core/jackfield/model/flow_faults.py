"""What is wrong with a flow, as far as it can be seen without its functions: every fault at once."""

from collections.abc import Collection, Iterable, Iterator
from numbers import Real
from threading import TIMEOUT_MAX
from typing import Any, Final, NamedTuple, get_args

from jackfield.model.cycles import cycles
from jackfield.model.flow import DEEPEST, INPUT, ITEM, Flow, KeyPath, OnError, Reference, Step, is_reference, references
from jackfield.model.names import close_names, name_fault, version_fault

_FEW: Final = 10  # steps that are named when no name is close
_DRAWN: Final = 16  # circles: the first few show where the knot is


class Flaw(NamedTuple):
    """One thing that is wrong with a flow.

    Attributes:
        at: where, below the flow's own table: `("steps", "auth", "with", "token")`.
        reason: what, as a clause.
        fix: what to do about it, as a clause.
    """

    at: KeyPath
    reason: str
    fix: str = ""


def flaws(flow: Flow) -> Iterator[Flaw]:
    """Find everything that is wrong with a flow by itself.

    Args:
        flow: it.

    Examples:
        >>> flow = Flow("checkout").step("auth", "auth.check", token="$inptu.token")
        >>> [(flaw.reason, flaw.fix) for flaw in flaws(flow)]
        [("'$inptu.token' refers to 'inptu', which is no step", "did you mean 'input'?")]
    """
    for fault in (name_fault(flow.name), version_fault(flow.version, flow.name)):
        if fault is not None:
            yield Flaw((), fault.reason, fault.fix)
    if flow.timeout is not None and not _is_timeout(flow.timeout):
        yield Flaw(("timeout",), "a timeout is a number of seconds above 0", "as in 30.0")
    if not flow.steps:
        yield Flaw(("steps",), "it has no steps", "give it one")
        return
    names = [step.name for step in flow.steps]
    for number, step in enumerate(flow.steps):
        if step.name in names[:number]:
            yield Flaw(("steps", step.name), f"there are two steps {step.name!r}", "give one of them another name")
        yield from _step_flaws(step, names)
    yield from _value_flaws(flow.output, ("output",), names, item=False)
    yield from _circles(flow)


def _is_timeout(given: Any) -> bool:
    return given is not True and isinstance(given, Real) and 0.0 < float(given) <= TIMEOUT_MAX


def _step_flaws(step: Step, names: Collection[str]) -> Iterator[Flaw]:
    at: KeyPath = ("steps", str(step.name))
    if not str.isidentifier(step.name):
        reason = f"{str(step.name)[:80]!r} cannot be a step's name: references could not name it"
        yield Flaw(at, reason, "use letters, digits and '_', and no digit first")
    elif step.name in (INPUT, ITEM):
        yield Flaw(at, f"${step.name} is {_MEANING[step.name]}, so no step can have that name", "give it another name")
    if (fault := name_fault(step.call)) is not None:
        yield Flaw((*at, "call"), fault.reason, fault.fix)
    for place, name in enumerate(step.after):
        if name not in names:
            yield Flaw((*at, "after", place), f"there is no step {str(name)[:80]!r}", close(str(name), names))
    yield from _value_flaws(step.with_, (*at, "with"), names, item=step.each is not None)
    if step.each is not None:
        if is_reference(step.each):
            yield from _reference_flaws(step.each, (*at, "each"), names, item=False)
        else:
            yield Flaw((*at, "each"), f"{str(step.each)[:80]!r} is no reference", "name a list, as in '$input.items'")
    yield from _option_flaws(step, at)


def _option_flaws(step: Step, at: KeyPath) -> Iterator[Flaw]:
    parallel: Any = step.parallel
    if parallel is not None:
        if type(parallel) is not int or parallel < 1:
            yield Flaw((*at, "parallel"), "how many at once is a whole number from 1", "as in 8")
        elif step.each is None:
            yield Flaw((*at, "parallel"), "it says how many items at once, and there is no `each`", "take it away")
    if step.on_error not in get_args(OnError):
        yield Flaw((*at, "on_error"), f"{str(step.on_error)[:80]!r} is unknown", "write 'fail' or 'continue'")


_MEANING: Final = {INPUT: "what the flow is called with", ITEM: "the item of a step with `each`"}


def _value_flaws(value: Any, at: KeyPath, names: Collection[str], *, item: bool) -> Iterator[Flaw]:
    try:
        found = list(references(value))
    except RecursionError:
        yield Flaw(at, f"it is nested more than {DEEPEST} levels deep", "flatten it")
        return
    for path, text in found:
        yield from _reference_flaws(text, (*at, *path), names, item=item)


def _reference_flaws(text: str, at: KeyPath, names: Collection[str], *, item: bool) -> Iterator[Flaw]:
    reference = Reference.parse(text)
    if reference is None:
        fix = "write '$step.key', '$input.key' or '$item.key', and '$$' for a dollar"
        yield Flaw(at, f"{text[:80]!r} is no reference", fix)
    elif reference.source == ITEM:
        if not item:
            yield Flaw(at, f"{text[:80]!r} refers to an item, and there is no `each` here", "add each = '$…', a list")
    elif reference.source != INPUT and reference.source not in names:
        known = (*names, INPUT, *((ITEM,) if item else ()))
        yield Flaw(
            at, f"{text[:80]!r} refers to {reference.source[:80]!r}, which is no step", close(reference.source, known)
        )


def _circles(flow: Flow) -> Iterator[Flaw]:
    known = {step.name for step in flow.steps}
    graph = {step.name: [name for name in _needs(step) if name in known] for step in flow.steps}
    order = {name: place for place, name in enumerate(graph)}
    for number, circle in enumerate(cycles(graph)):
        if number == _DRAWN:
            yield Flaw(("steps",), "there are further circles, which are not drawn", "undo the circles above first")
            return
        first = min(range(len(circle)), key=lambda place: order[circle[place]])
        ring = (*circle[first:], *circle[:first], circle[first])
        reason = f"the steps wait for one another: {' → '.join(map(str, ring))}"
        yield Flaw(("steps", ring[0]), reason, "take one of these references, or of `after`, away")


def _needs(step: Step) -> Iterable[str]:
    try:
        return step.needs
    except RecursionError:  # told already
        return step.after


def call_circles(calls: "dict[str, set[str]]") -> Iterator[tuple[str, ...]]:
    """Find flows that call one another in a circle: none of them could ever end.

    Args:
        calls: flow → the functions that its steps call.

    Returns:
        Circles, closed: the first name comes again at the end.
    """
    for circle in cycles(calls):
        yield (*circle, circle[0])


def close(name: str, known: Collection[str]) -> str:
    """Say which known names resemble an unknown one, or all of them if they are few."""
    if found := close_names(name, known):
        return f"did you mean {' or '.join(map(repr, found))}?"
    return f"known here: {', '.join(dict.fromkeys(map(str, known)))}" if 0 < len(known) <= _FEW else ""
