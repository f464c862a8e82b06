"""Results of submitted calls that are sent to others: each by a submitted call of a function of its own.

That call is accepted before the first one is settled, so no kill comes in between: it holds the id of that one and the
number of its attempt, never its result, waits until it is settled, and sends what it has come to; where the attempt has
ended for nothing, it does nothing. What it sends, and how, an adapter knows.
"""

from collections.abc import Callable
from fnmatch import fnmatchcase
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, Protocol

import attrs

from jackfield import contract
from jackfield.config import Configuration, Delivery
from jackfield.config.adapters import load_adapter
from jackfield.config.webhooks import DELIVERIES
from jackfield.durable.ledger import Entry
from jackfield.durable.records import State, Submitted
from jackfield.errors import ConfigError, DeadlineExceeded, JackfieldError, Rejected, ResourceExhausted, Unavailable
from jackfield.log import host_log
from jackfield.model.call import current_call
from jackfield.model.spec import FunctionSpec, Policy
from jackfield.registry.change import Addition, Removal
from jackfield.registry.functions import Functions

if TYPE_CHECKING:
    from jackfield.durable.hosted import Submissions

GONE: Final = "gone"
"""The code of a refusal by a receiver that wants nothing more."""

KEEP: Final = 3 * 86_400.0
"""Seconds that a result is kept at least which is to be sent: longer than anybody tries."""

_PART: Final = 4  # of the seats is the most that one receiver has
_TIMEOUT: Final = 60.0  # seconds of one attempt; the adapter has less
_SETTLING: Final = 5.0  # seconds that an attempt waits for the call to be settled, and how long until the next one
_STORE: Final = (
    "results are sent by submitted calls, and this host has no store that lasts: add [store] with url ="
    ' "sqlite:jackfield.db", or Host(store=…)'
)


@attrs.frozen
class Message:
    """What is to be told of a call.

    Attributes:
        id: the same however often it is sent.
        attempt: how often it is being sent, from 1.
        entry: the call, settled.
    """

    id: str
    attempt: int
    entry: Entry


class Sender(Protocol):
    """Sends messages; the adapter `delivery:http`.

    Attributes:
        attempts: how often a message is tried.
    """

    attempts: int

    async def send(self, delivery: Delivery, message: Message, /) -> int:
        """Send a message, once; give the status of the answer.

        Raises:
            Rejected: when another try would not change it; with the code `gone` when the receiver wants nothing more.
            ResourceExhausted: when it is to be tried again, and when.
        """
        ...


class Deliveries:
    """What a host sends of the results of its submitted calls.

    Args:
        functions: where the functions are registered that send.
        submissions: the submitted calls.
        lasting: whether there is a store that lasts.
    """

    def __init__(self, functions: Functions, submissions: "Submissions", lasting: bool) -> None:
        self._functions = functions
        self._submissions = submissions
        self._lasting = lasting
        self._there: dict[str, tuple[Delivery, FunctionSpec]] = {}
        self._sender: Sender | None = None

    def adopt(self, configuration: Configuration) -> None:
        """Send what a configuration says from now on, in one swap.

        Args:
            configuration: what has the deliveries.

        Raises:
            ConfigError: if there is no store that lasts.
            Unavailable: if nothing that is installed can send.
            DuplicateFunction: if the name of one is taken by a function of somebody else.
        """
        wanted = configuration.deliveries
        if wanted and not self._lasting:
            raise ConfigError(str(configuration.file), None, "deliveries", _STORE)
        if wanted and self._sender is None:
            self._sender = _adapter()
        gone = {name: spec for name, (delivery, spec) in self._there.items() if wanted.get(name) != delivery}
        kept = {name: found for name, found in self._there.items() if name not in gone}
        new = {name: (each, self._spec(each)) for name, each in wanted.items() if name not in kept}
        if gone or new:
            removals = [Removal(spec.name, spec.version, only=spec, succeed=True) for spec in gone.values()]
            self._functions.commit([*removals, *(Addition(spec) for _, spec in new.values())])
        self._there = {**kept, **new}
        self._submissions.deliveries = self if self._there else None

    def keep(self, function: str) -> float | None:
        """Give the seconds that results of a function are kept at least, or None."""
        return KEEP if self._matching(function) else None

    def room(self, function: str, seats: int) -> int | None:
        """Give how many calls of a function run at once; None for those that send nothing.

        A receiver that hangs must not take the seats of all others.
        """
        return max(seats // _PART, 1) if function.startswith(DELIVERIES) else None

    async def settling(self, entry: Entry, state: State) -> None:
        """Have a result sent: the call is about to be settled, and is not yet.

        Args:
            entry: the call as it was.
            state: what it comes to.

        Raises:
            Unavailable: if the store is away; then the call is not settled either.
        """
        for delivery in self._matching(entry.call.function):
            assert self._sender is not None  # noqa: S101  # there is a delivery
            payload = {"call": entry.id, "mark": _mark(entry.call, state)}
            try:
                await self._submissions.entrust(DELIVERIES + delivery.name, payload, entry, self._sender.attempts)
            except Unavailable:
                raise
            except JackfieldError as error:  # it was taken away meanwhile, or a hook does not want it
                host_log("ERROR", f"the result of call {entry.id} is not sent to {delivery.name}", error)

    def _matching(self, function: str) -> list[Delivery]:
        if function.startswith(DELIVERIES):
            return []
        found = [delivery for delivery, _ in self._there.values()]
        return [each for each in found if any(fnmatchcase(function, pattern) for pattern in each.functions)]

    # --- The functions that send ------------------------------------------------------------------------------------

    def _spec(self, delivery: Delivery) -> FunctionSpec:
        async def deliver(call: str, mark: str) -> dict[str, Any]:
            return await self._deliver(delivery, call, mark)

        deliver.__doc__ = f"Send the result of a submitted call to {delivery.url}."
        policy = Policy(timeout=_TIMEOUT, idempotent=True)
        return contract.specify(DELIVERIES + delivery.name, deliver, policy=policy)

    async def _deliver(self, delivery: Delivery, call: str, mark: str) -> dict[str, Any]:
        assert self._sender is not None  # noqa: S101  # its function is there
        name, attempt = DELIVERIES + delivery.name, current_call().attempt
        entry = await self._settled(name, call, mark)
        if entry is None:
            return {"superseded": True}
        if attempt == 1:  # one that is redriven is sent all the same: so a receiver is asked whether it takes any again
            await self._refuse_gone(delivery)
        identifier = f"msg_{blake2b(f'{name} {call} {mark}'.encode(), digest_size=16).hexdigest()}"
        try:
            status = await self._sender.send(delivery, Message(identifier, attempt, entry))
        except Rejected as error:
            if error.code == GONE:
                await self._note_gone(delivery, gone=True)
            raise
        if attempt > 1:
            await self._note_gone(delivery, gone=False)
        return {"status": status}

    async def _settled(self, name: str, call: str, mark: str) -> Entry | None:
        """Give a call that has come to the end that is to be told; None if it goes on, or has come to another one.

        Raises:
            Rejected: if it is not kept any more, or is another one: then somebody else has made this up.
            ResourceExhausted: if it has not come to its end yet.
        """
        nonce, _, epoch = mark.partition(" ")
        try:
            entry = await self._submissions.afound(call)
            mine = entry.call.nonce.hex() == nonce
            if mine and str(entry.now.epoch) == epoch and not entry.status.settled:
                entry = await self._submissions.asettled(call, _SETTLING)
        except LookupError as error:
            raise Rejected(str(error), code="no_such_call") from None
        except DeadlineExceeded:
            raise ResourceExhausted(name, f"call {call} has not ended yet", _SETTLING) from None
        if not mine or entry.call.function.startswith(DELIVERIES):
            raise Rejected("there is no such call", code="no_such_call")
        return entry if _mark(entry.call, entry.now) == mark else None

    async def _refuse_gone(self, delivery: Delivery) -> None:
        stored = await self._submissions.aasked(lambda store: store.get(_gone(delivery)))
        if stored is not None and stored.value == delivery.url.encode():
            reason = "it has answered 410: it wants nothing more. When it does again, redrive one, or change the url"
            raise Rejected(f"{delivery.name}: {reason}", code=GONE)

    async def _note_gone(self, delivery: Delivery, *, gone: bool) -> None:
        if gone:
            host_log("WARNING", f"delivery {delivery.name}: its receiver has answered 410, and gets nothing more")
            await self._submissions.aasked(lambda store: store.put(_gone(delivery), delivery.url.encode()))
        else:
            await self._submissions.aasked(lambda store: store.delete(_gone(delivery)))


def _mark(call: Submitted, state: State) -> str:
    """Tell one end of a call from others: of an earlier call of that id, and of what was done before it was run anew.

    An attempt that ended for nothing has another epoch than the one that counts. Nobody knows a mark who was not told,
    so nobody else can have anything sent.
    """
    return f"{call.nonce.hex()} {state.epoch}"


def _gone(delivery: Delivery) -> str:
    return f"deliveries/{delivery.name}/gone"


def _adapter() -> Sender:
    made: Callable[[], Sender] = load_adapter("delivery:http", "deliveries", "pip install 'jackfield-contrib[http]'")
    return made()
