"""Contracts of functions that run in workers: described, held against types, and given their callers' classes."""

import asyncio
import datetime as dt
import json

import attrs
import pytest
from tests.support.apart import apart, needs_workers, written

from jackfield import ContractError, Host
from jackfield.contract.payload import payload_schema, result_schema
from jackfield.wire.signature import shown_dependencies

pytestmark = needs_workers

CODE = """
import datetime as dt
import attrs
from jackfield import Logger, function, inject

@attrs.define
class Loan:
    amount: int
    months: int = 12

@attrs.define
class Rate:
    percent: float
    until: dt.date
    tags: set[str]

@function
def rate(loan: Loan, log: Logger = inject()) -> Rate:
    "Rate a loan."
    return Rate(loan.amount / loan.months, dt.date(2026, 11, 26), {"new"})

@function
async def both(a: int, b: int = 2) -> int:
    return a + b
"""


@attrs.define
class Loan:
    amount: int
    months: int = 12


@attrs.define
class Rate:
    percent: float
    until: dt.date
    tags: set[str]


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    with apart(tmp_path_factory.mktemp("contracts"), CODE) as host:
        yield host


def test_a_contract_is_known_without_its_types(host):
    """Schemas, and text for people, with defaults and what is injected."""
    spec = host.describe("apart.rate")
    assert spec.summary == "Rate a loan."
    assert spec.remote.parameters == ("loan: Loan",)
    assert spec.remote.returns == "Rate"
    assert shown_dependencies(spec) == ("log: Logger",)
    assert spec.remote.payload["$defs"]["Loan"]["required"] == ["amount"]
    assert "apart.py:" in spec.remote.place
    assert host.describe("apart.both").remote.parameters == ("a: int", "b: int = 2")


def test_an_untyped_call_gives_plain_data(host):
    """A class of the plugin's is a dict."""
    assert host.call("apart.rate", Loan(24)) == {"percent": 2.0, "until": dt.date(2026, 11, 26), "tags": ["new"]}


def test_a_typed_handle_gives_its_caller_s_own_class(host):
    """Of the same schema."""
    rate = host.function("apart.rate", Loan, Rate)
    assert rate(Loan(24)) == Rate(2.0, dt.date(2026, 11, 26), {"new"})
    assert rate(Loan(24), timeout=10.0) == Rate(2.0, dt.date(2026, 11, 26), {"new"})


async def _awaited(rate):
    return await rate.acall(Loan(24))


def test_so_does_an_awaited_one(host):
    assert asyncio.run(_awaited(host.function("apart.rate", Loan, Rate))) == Rate(2.0, dt.date(2026, 11, 26), {"new"})


@pytest.mark.parametrize(
    ("name", "payload", "result", "said"),
    [
        ("apart.rate", str, Rate, "Loan is wanted, and str is given"),
        ("apart.rate", Loan, Loan, "'amount' is wanted, and not given"),
        ("apart.rate", Loan, int, "int is wanted, and Rate is given"),
        ("apart.both", dict[str, str], int, "$.a: int is wanted, and str is given"),
        ("apart.both", Loan, int, "'a' is wanted, and not given"),
    ],
)
def test_types_that_do_not_fit_are_refused_when_the_handle_is_made(host, name, payload, result, said):
    with pytest.raises(ContractError, match="is refused") as caught:
        host.function(name, payload, result)
    assert said in str(caught.value)


def test_an_extension_point_holds_for_workers_too(tmp_path):
    """By schema."""
    host = Host.from_config(written(tmp_path, CODE), observers=())
    with pytest.raises(ContractError, match=r"result: expected str, the function returns Rate"), host:
        host.expect("apart.rate", Loan, str)


def test_a_contract_can_be_written_as_json(host):
    """Whoever asks for the schema of a function gets it, wherever that runs."""
    spec = host.describe("apart.both")
    assert json.loads(json.dumps(payload_schema(spec)))["required"] == ["a"]
    assert result_schema(spec)["type"] == "integer"
