"""What came in over HTTP is the top of the trees of its calls."""

import asyncio

import httpx

from jackfield import Caller, Host, inject
from jackfield.testing import Recorder
from jackfield_contrib.http import asgi


def crash() -> None:
    raise ValueError("the password is swordfish")


def outer(*, functions: Caller = inject()) -> None:
    functions.call("crash")


async def asked(host, *requests):
    async with httpx.AsyncClient(transport=httpx.ASGITransport(asgi(host)), base_url="http://x") as client:
        return [await client.post(path, json=body) for path, body in requests]


def test_a_call_has_its_request_above_it():
    """With the time from its arrival on; each call of a batch has the same."""
    with Host(observers=[Recorder()]) as host:
        host.register("outer", outer)
        host.register("crash", crash)
        one = ("/v1/functions/outer", None)
        both = ("/v1/calls:batch", [{"function": "crash"}, {"function": "nix"}])
        asyncio.run(asked(host, one, both))
        host_made = host.traces.find(errors=True)
        by_name = {each["function"]: each["tree"] for each in host_made}
        assert by_name.keys() == {"outer", "crash", "nix"}
        door = by_name["outer"]
        assert (door["kind"], door["name"], door["start_ms"]) == ("http", "POST /v1/functions/outer", 0.0)
        (call,) = door["below"]
        assert call["start_ms"] + call["ms"] <= door["ms"] + 0.002
        assert [each["name"] for each in call["below"]] == ["crash"]
        assert by_name["crash"]["name"] == by_name["nix"]["name"] == "POST /v1/calls:batch"
