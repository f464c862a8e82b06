"""The flows of a file: what is wrong with each, and with all of them together."""

from collections.abc import Iterator, Mapping

from jackfield.config.flows import Flows, flow_of
from jackfield.config.problems import PLACEHOLDER, KeyPath, Problem, quoted
from jackfield.model.flow import Flow
from jackfield.model.flow_faults import call_circles, flaws


def check_flows(declared: Flows) -> tuple[Mapping[str, tuple[Flow, ...]], list[Problem]]:
    """Make the flows of what a file says, and find what is wrong with them.

    Args:
        declared: name → table, or tables.

    Returns:
        Name → the versions, in order, and the problems.
    """
    flows: dict[str, tuple[Flow, ...]] = {}
    problems: list[Problem] = []
    for name, said in declared.items():
        places = {(): said} if not isinstance(said, tuple) else {(number,): one for number, one in enumerate(said)}
        made: list[Flow] = []
        for place, config in places.items():
            at: KeyPath = ("flows", name, *place)
            flow = flow_of(name, config)
            problems += [Problem((*at, *flaw.at), flaw.reason, flaw.fix) for flaw in flaws(flow)]
            if any(flow.version == other.version for other in made):
                reason = f"there is a version {quoted(flow.version)} of this flow already"
                problems.append(Problem((*at, "version"), reason, "give each a version of its own"))
            made.append(flow)
        flows[name] = tuple(made)
    problems = [problem for problem in problems if PLACEHOLDER not in problem.reason]
    return flows, [*problems, *_circles(flows)]


def _circles(flows: Mapping[str, tuple[Flow, ...]]) -> Iterator[Problem]:
    calls = {name: {step.call for flow in made for step in flow.steps} for name, made in flows.items()}
    for ring in call_circles(calls):
        reason = f"flows call one another without an end: {' → '.join(quoted(name)[1:-1] for name in ring)}"
        yield Problem(_calling(flows[ring[0]], ring[1]), reason, "take one of these steps away")


def _calling(versions: tuple[Flow, ...], name: str) -> KeyPath:
    """Find the step that calls a function."""
    for number, flow in enumerate(versions):
        for step in flow.steps:
            if step.call == name:
                place = (number,) if len(versions) > 1 else ()
                return ("flows", flow.name, *place, "steps", step.name, "call")
    return ("flows", versions[0].name)
