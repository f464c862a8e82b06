"""The flows of one host: registered like any function, checked against the functions that they call."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import copy_context
from typing import Final, Literal

import attrs

from jackfield import contract
from jackfield.calls.dispatch import Caller
from jackfield.calls.handles import Registration
from jackfield.contract.schemas import words
from jackfield.errors import ContractError, DuplicateFunction, Fault, FunctionNotFound, JackfieldError, PluginError
from jackfield.flow.contracts import contract_flaws, result_of
from jackfield.flow.program import Program, compile_flow
from jackfield.flow.running import FlowFunction
from jackfield.log import host_log
from jackfield.model.flow import Flow
from jackfield.model.flow_faults import Flaw, call_circles, flaws
from jackfield.model.snapshot import Snapshot
from jackfield.model.spec import FunctionSpec, Policy, RemoteContract
from jackfield.registry.change import Addition, Removal
from jackfield.registry.functions import Functions
from jackfield.runtime.pool import Pool
from jackfield.strangers import is_a

_STAGE: Final = "flow"


def flow_of(spec: FunctionSpec) -> Flow | None:
    """Give the flow that a function is, if it is one."""
    target = spec.target
    return target.flow if is_a(target, FlowFunction) else None


class Flows:
    """Takes flows in, and says what is wrong with them.

    Args:
        functions: where they are registered.
        caller: calls their steps.
        pool: where a function is imported that is known by name alone.
        find: imports it.
        known: gives the contract of a function whose plugin does not run.
        refusal: says why there is no function of a name.
    """

    def __init__(
        self,
        functions: Functions,
        caller: Caller,
        pool: Pool,
        find: Callable[[str], None],
        known: Callable[[str], FunctionSpec | None],
        refusal: Callable[[str], JackfieldError],
    ) -> None:
        self._functions = functions
        self.acall = caller.acall
        self._pool = pool
        self._find = find
        self._known = known
        self._refusal = refusal
        self._declined: tuple[Fault, ...] = ()
        self._unfit: tuple[Fault, ...] = ()
        self._declared: dict[str, Flow] = {}  # what the configuration has brought, by name and version

    @property
    def faults(self) -> tuple[Fault, ...]:
        """The flows of a configuration that could not come in, and what was wrong with others when the host started."""
        there = {program.flow.key for program, _ in self._programs()}
        return (*self._declined, *(fault for fault in self._unfit if fault.entry.partition(" ")[0] in there))

    # --- For runs ---------------------------------------------------------------------------------------------------

    @property
    def snapshot(self) -> Snapshot:
        """The functions of now."""
        return self._functions.state.snapshot

    async def find(self, name: str) -> JackfieldError | None:
        """Import a function that is known by name alone; say why, if there is none."""
        context = copy_context()
        await self._pool.run(name, lambda: context.run(self._find, name))
        return None if name in self.snapshot.routes else self._refusal(name)

    # --- Coming in --------------------------------------------------------------------------------------------------

    def add(self, flow: Flow) -> Registration:
        """Register a flow.

        Args:
            flow: of a host that runs, its functions are there already.

        Returns:
            What removes it.

        Raises:
            ContractError: with everything that is wrong with it.
            DuplicateFunction: if its name and version is taken.
            PluginError: if a hook refuses it.
        """
        program = self._compiled(flow, [each for each, _ in self._programs()])
        if self._functions.running and (faults := tuple(self._missing([program]))):
            raise ContractError(flow.name, faults)
        return self._register(program)

    def _compiled(self, flow: Flow, others: Iterable[Program]) -> Program:
        """Compile a flow, unless it has a flaw, or is in a circle with others."""
        faults = [_fault(flow, flaw) for flaw in flaws(flow)]
        faults = faults or list(_circles(flow, (each.flow for each in others)))
        if not faults:
            try:
                return compile_flow(flow)
            except TypeError as error:
                faults = [_fault(flow, Flaw(("steps",), f"what is written there is no plain data: {error}"))]
        raise ContractError(flow.name, tuple(faults))

    def _register(self, program: Program) -> Registration:
        spec = self._spec(program)
        self._functions.commit([Addition(spec)])
        return Registration(spec, self._remove)

    def declare(self, flows: Mapping[str, tuple[Flow, ...]]) -> tuple[Fault, ...]:
        """Have the flows of a configuration, and no others of an earlier one; those that are the same stay.

        Args:
            flows: name → versions; each is good by itself.

        Returns:
            The faults of those that could not come in; they stand in `faults`, too.

        Raises:
            JackfieldError: if one that is there can neither go nor be replaced, and why; then nothing has changed.
        """
        wanted = {flow.key: flow for versions in flows.values() for flow in versions}
        gone = {key for key, flow in self._declared.items() if wanted.get(key) != flow}
        there = {program.flow.key: spec for program, spec in self._programs() if program.flow.key in gone}
        others = [program for program, _ in self._programs() if program.flow.key not in gone]
        # Replaced in one swap: nobody ever finds that a flow is not there, and another version inherits its routes.
        names = {spec.name for spec in there.values()}
        swapped = [
            flow for key, flow in wanted.items() if flow.name in names and (key in gone or key not in self._declared)
        ]
        removals = [Removal(spec.name, spec.version, only=spec, succeed=True) for spec in there.values()]
        if removals:
            additions = [Addition(self._spec(self._compiled(flow, others))) for flow in swapped]
            self._functions.commit([*removals, *additions])
        for key in gone:
            del self._declared[key]
        self._declared |= {flow.key: flow for flow in swapped}
        faults: list[Fault] = []
        for key in [key for key in wanted if key not in self._declared]:
            try:
                self._register(self._compiled(wanted[key], [program for program, _ in self._programs()]))
                self._declared[key] = wanted[key]
            except (ContractError, DuplicateFunction, PluginError) as error:
                faults += error.faults or (Fault("duplicate", "", key, str(error)),)
        self._declined = tuple(faults)
        return (*self._declined, *(self.check() if self._functions.running else ()))

    def _remove(self, spec: FunctionSpec) -> None:
        self._functions.commit([Removal(spec.name, spec.version, only=spec)])

    def _spec(self, program: Program) -> FunctionSpec:
        flow = program.flow
        result = result_of(program, self._contract)
        remote = RemoteContract({"description": "what `$input` stands for"}, result, ("input",), words(result, result))
        steps = ", ".join(f"{step.name} ({step.call})" for step in flow.steps)
        policy = Policy(None if flow.timeout is None else float(flow.timeout), None)
        spec = contract.specify(flow.name, FlowFunction(program, self), version=flow.version, policy=policy)
        return attrs.evolve(spec, remote=remote, summary=f"A flow: {steps}"[:200], notes=())

    def __iter__(self) -> Iterator[Flow]:
        """Walk the flows that can be called now."""
        return (program.flow for program, _ in self._programs())

    def beside(self, drawing: str, style: Literal["mermaid", "dot"]) -> str:
        """Add the flows to a drawing."""
        from jackfield.flow.drawing import beside  # noqa: PLC0415  # for those who draw

        return beside(drawing, self, style)

    # --- Checking ---------------------------------------------------------------------------------------------------

    def check(self) -> tuple[Fault, ...]:
        """Hold every flow against the functions that there are, now that the host has started.

        What their functions give may be known only now, and with it what the flows give.

        Returns:
            Everything that is wrong; it stands in `faults`, too.
        """
        programs = list(self._programs())
        self._unfit = tuple(self._missing(program for program, _ in programs))
        for fault in self._unfit:
            host_log("ERROR", fault)
        for _ in programs:  # a flow may call a flow
            if not self._learn():
                break
        return self._unfit

    def _learn(self) -> bool:
        """Register anew the flows whose results are better known by now; tell whether there were any."""
        renewed: list[Addition | Removal] = []
        for program, spec in self._programs():
            known = self._spec(program)
            if spec.remote is not None and known.remote is not None and known.remote.result != spec.remote.result:
                renewed += [Removal(spec.name, spec.version, only=spec, succeed=True), Addition(known)]
        if renewed:
            try:
                self._functions.commit(renewed, vetted=True)
            except (PluginError, ContractError) as error:  # under trial, or held to an extension point
                host_log("WARNING", "a flow keeps the contract that it had", error)
                return False
        return bool(renewed)

    def _programs(self) -> Iterator[tuple[Program, FunctionSpec]]:
        for endpoint in self._functions.endpoints():
            if is_a(target := endpoint.spec.target, FlowFunction):
                yield target.program, endpoint.spec

    def _contract(self, name: str) -> FunctionSpec | None:
        route = self.snapshot.routes.get(name)
        return route.spec if route is not None else self._known(name)

    def _missing(self, programs: Iterable[Program]) -> Iterator[Fault]:
        """Find the functions that nobody knows, and what does not fit those that are known."""
        for program in programs:
            for name, node in program.nodes.items():
                call = node.step.call
                if self._contract(call) is None and is_a(refusal := self._refusal(call), FunctionNotFound):
                    yield _fault(program.flow, Flaw(("steps", name, "call"), str(refusal)))
            yield from (_fault(program.flow, flaw) for flaw in contract_flaws(program, self._contract))


def _circles(flow: Flow, others: Iterable[Flow]) -> Iterator[Fault]:
    """Find the circles in which a flow would call itself, be it through others."""
    calls: dict[str, set[str]] = {}
    for each in (flow, *others):
        calls.setdefault(each.name, set()).update(step.call for step in each.steps)
    for ring in call_circles(calls):
        if flow.name in ring:
            at = next((("steps", step.name, "call") for step in flow.steps if step.call in ring), ())
            reason = f"flows call one another without an end: {' → '.join(ring)}"
            yield _fault(flow, Flaw(at, reason, "take one of these steps away"))


def _fault(flow: Flow, flaw: Flaw) -> Fault:
    where = ".".join(str(part) for part in flaw.at)
    return Fault(_STAGE, "", f"{flow.key} {where}".rstrip(), flaw.reason, flaw.fix)
