"""The flows of one host: registered like any function, checked against the functions that they call."""

from collections.abc import Callable, Iterable, Iterator
from contextvars import copy_context
from typing import Final

import attrs

from jackfield import contract
from jackfield.calls.dispatch import Caller
from jackfield.calls.handles import Registration
from jackfield.contract.schemas import words
from jackfield.errors import ContractError, Fault, FunctionNotFound, JackfieldError, PluginError
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
        self.faults: tuple[Fault, ...] = ()

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

    def add(self, flows: Iterable[Flow]) -> tuple[Registration, ...]:
        """Register flows, all of them or none.

        Args:
            flows: of a host that runs, their functions are there already, or among them.

        Returns:
            What removes each of them.

        Raises:
            ContractError: with everything that is wrong with any of them.
            DuplicateFunction: if a name and version is taken.
            PluginError: if a hook refuses one.
        """
        wanted = tuple(flows)
        faults = [_fault(flow, flaw) for flow in wanted for flaw in flaws(flow)]
        programs: list[Program] = []
        if not faults:
            for flow in wanted:
                try:
                    programs.append(compile_flow(flow))
                except TypeError as error:
                    faults.append(_fault(flow, Flaw(("steps",), f"what is written there is no plain data: {error}")))
            faults += self._circles(wanted)
        if not faults and self._functions.running:
            faults += self._missing(programs, {flow.name for flow in wanted})
        if faults:
            raise ContractError(wanted[0].name, tuple(faults))
        specs = [self._spec(program) for program in programs]
        self._functions.commit([Addition(spec) for spec in specs])
        return tuple(Registration(spec, self._remove) for spec in specs)

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

    # --- Checking ---------------------------------------------------------------------------------------------------

    def check(self) -> tuple[Fault, ...]:
        """Hold every flow against the functions that there are, now that the host has started.

        What their functions give may be known only now, and with it what the flows give.

        Returns:
            Everything that is wrong; it stands in `faults`, too.
        """
        programs = list(self._programs())
        self.faults = tuple(self._missing([program for program, _ in programs], ()))
        for fault in self.faults:
            host_log("ERROR", fault)
        for _ in programs:  # a flow may call a flow
            if not self._learn():
                break
        return self.faults

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

    def _missing(self, programs: Iterable[Program], coming: Iterable[str]) -> Iterator[Fault]:
        """Find the functions that nobody knows, and what does not fit those that are known."""
        new = frozenset(coming)
        for program in programs:
            for name, node in program.nodes.items():
                call = node.step.call
                if call in new or self._contract(call) is not None:
                    continue
                if is_a(refusal := self._refusal(call), FunctionNotFound):
                    yield _fault(program.flow, Flaw(("steps", name, "call"), str(refusal)))
            yield from (_fault(program.flow, flaw) for flaw in contract_flaws(program, self._contract))

    def _circles(self, flows: Iterable[Flow]) -> Iterator[Fault]:
        """Find flows that call one another in a circle."""
        new = tuple(flows)
        calls: dict[str, set[str]] = {}
        for flow in (*new, *(program.flow for program, _ in self._programs())):
            calls.setdefault(flow.name, set()).update(step.call for step in flow.steps)
        for ring in call_circles(calls):
            reason = f"flows call one another without an end: {' → '.join(ring)}"
            for flow in [each for each in new if each.name in ring][:1]:
                at = next(("steps", step.name, "call") for step in flow.steps if step.call in ring)
                yield _fault(flow, Flaw(at, reason, "take one of these steps away"))


def _fault(flow: Flow, flaw: Flaw) -> Fault:
    where = ".".join(str(part) for part in flaw.at)
    return Fault(_STAGE, "", f"{flow.key} {where}".rstrip(), flaw.reason, flaw.fix)
