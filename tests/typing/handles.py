"""What type checkers see of the public API: right uses pass, wrong ones are errors.

Not run: mypy and pyright check it. Under `warn_unused_ignores` each ignored line proves that the error is reported.
"""

from collections.abc import Iterator
from typing import Any, Literal, assert_type

import attrs

from jackfield import (
    Call,
    Flow,
    Function,
    Host,
    Registration,
    Snapshot,
    current_call,
    deadline,
    function,
    inject,
    provides,
)


@attrs.frozen
class Loan:
    """A payload."""

    amount: int


class Database:
    """A dependency."""


@function(timeout=0.5)
def score(loan: Loan, *, db: Database = inject()) -> float:
    """Keep its type under the decorator."""
    return float(loan.amount)


@function
async def ascore(loan: Loan) -> float:
    """Keep its type under the bare decorator."""
    return float(loan.amount)


@provides(scope="request")
def session() -> Iterator[Database]:
    """Keep its type under the decorator."""
    yield Database()


def right(host: Host) -> None:
    """Use the API as it is meant."""
    assert_type(score(Loan(1)), float)
    assert_type(session(), Iterator[Database])
    handle = host.function("risk.score", Loan, float)
    assert_type(handle, Function[Loan, float])
    assert_type(handle(Loan(1), timeout=0.1, tenant="t"), float)
    assert_type(host.function("risk.maybe", Loan | None, float | None), Function[Loan | None, float | None])
    assert_type(host.function("risk.all", list[Loan], dict[str, float]), Function[list[Loan], dict[str, float]])
    assert_type(host.function("risk.word", Any, Literal["a", "b"]), Function[Any, Literal["a", "b"]])
    assert_type(host.register("risk.score", score), Registration)
    assert_type(host.snapshot, Snapshot)
    assert_type(current_call(), Call)
    flow = Flow("f", version="1.0", timeout=1.0, output={"a": "$a"}).step("a", "risk.score", amount="$input.amount")
    assert_type(flow.step("b", "b", with_="$a", after=["a"], each="$a", parallel=2, on_error="continue"), Flow)
    assert_type(host.add_flow(flow), Registration)
    assert_type(host.flows, tuple[Flow, ...])
    with host.update() as tx, deadline(0.2):
        tx.register("a", score)
    with host.override({Database: Database()}):
        host.call("risk.score", {"amount": 1})


async def right_async(host: Host) -> None:
    """Use the async API as it is meant."""
    assert_type(await ascore(Loan(1)), float)
    async with host as same:
        assert_type(same, Host)
        handle = same.function("risk.score", Loan, float)
        assert_type(await handle.acall(Loan(1)), float)


def wrong(host: Host) -> None:
    """Misuse it: each line must be an error."""
    handle = host.function("risk.score", Loan, float)
    handle("loan")  # type: ignore[arg-type]
    text: str = handle(Loan(1))  # type: ignore[assignment]
    number: float = host.function("risk.maybe", Loan, float | None)(Loan(1))  # type: ignore[assignment]
    host.call("f", number)
    score("loan")  # type: ignore[arg-type]
    host.register("risk.score", 5)  # type: ignore[arg-type]
    host.call(5)  # type: ignore[arg-type]
    host.snapshot.functions["f"] = text  # type: ignore[index]
    function(timeout="soon")  # type: ignore[call-overload]
    host.add_flow("f")  # type: ignore[arg-type]
    Flow("f").step("a", "b", on_error="skip")  # type: ignore[arg-type]
    provides(scope="forever")  # type: ignore[call-overload]
