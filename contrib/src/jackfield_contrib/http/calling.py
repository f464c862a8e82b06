"""Calls: one a request, or a list of them; a client that goes away cancels what it has asked for."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from jackfield import Host
from jackfield.errors import FunctionCrashed, JackfieldError
from jackfield_contrib.http import problems
from jackfield_contrib.http.bounds import Bounds
from jackfield_contrib.http.exchange import Exchange
from jackfield_contrib.http.presence import while_there
from jackfield_contrib.http.problems import Problem, Refused

_FIELDS: Final = frozenset({"function", "payload", "version", "timeout"})


class Calling:
    """Calls functions of a host for clients.

    Args:
        host: whose.
        bounds: of a request.
    """

    def __init__(self, host: Host, bounds: Bounds) -> None:
        self._host, self._bounds = host, bounds

    async def one(self, name: str, exchange: Exchange) -> None:
        """Answer `POST /v1/functions/NAME`."""
        payload = await exchange.payload()
        timeout, headers = exchange.timeout(), exchange.passed_on()
        try:
            with while_there(exchange.receive):
                result = await self._host.acall(name, payload, timeout, exchange.tenant, None, headers)
            written = exchange.written(result)
        except JackfieldError as error:
            await exchange.problem(problems.of_error(error))
        except TypeError:  # of `written`: a result that has no form; the call's own errors are all of one tree
            await exchange.problem(formless(name))
        else:
            await exchange.result(written)

    async def batch(self, exchange: Exchange) -> None:
        """Answer `POST /v1/calls:batch`: each call by itself, in the order that they came in."""
        wanted = self._read(await exchange.payload())
        headers, whole = exchange.passed_on(), exchange.timeout()
        places = asyncio.Semaphore(self._bounds.parallel)

        async def each(call: Mapping[str, Any]) -> dict[str, Any]:
            async with places:
                return await self._entry(exchange, call, headers, whole)

        with while_there(exchange.receive):
            answers = await asyncio.gather(*map(each, wanted))
        await exchange.results(answers)

    async def _entry(
        self, exchange: Exchange, call: Mapping[str, Any], headers: Mapping[str, str] | None, whole: float | None
    ) -> dict[str, Any]:
        name, timeout = call["function"], call.get("timeout", whole)
        try:
            if (version := call.get("version")) is not None:  # as the header of a single call: not all may pick one
                if not isinstance(version, str):
                    raise TypeError(f"a version is a text, not {type(version).__name__}")  # noqa: TRY301  # as others
                headers = {**(headers or {}), "x-version": version}
            result = await self._host.acall(name, call.get("payload"), timeout, exchange.tenant, None, headers)
        except JackfieldError as error:
            return dict(problems.of_error(error).document)
        except (TypeError, ValueError) as error:  # a version that is no text, a timeout that is no number
            return dict(problems.of_request(Refused(400, str(error))).document)
        try:
            return {"result": exchange.written(result)}
        except TypeError:
            return dict(formless(name).document)

    def _read(self, wanted: Any) -> list[Mapping[str, Any]]:
        if not isinstance(wanted, list):
            raise Refused(400, 'a batch is a list of {"function": NAME, "payload": ...}')
        if len(wanted) > self._bounds.batch:
            raise Refused(413, f"a batch has at most {self._bounds.batch:,} calls, not {len(wanted):,}")
        for number, call in enumerate(wanted):
            if not isinstance(call, dict) or not isinstance(call.get("function"), str):
                raise Refused(400, f'call {number} of the batch is no {{"function": NAME, "payload": ...}}')
            unknown = call.keys() - _FIELDS
            if unknown:
                raise Refused(
                    400, f"call {number} of the batch has unknown fields: {', '.join(sorted(map(ascii, unknown)))}"
                )
        return wanted


def formless(name: str) -> Problem:
    """Describe a result that cannot be written: the function is at fault, and where is for its author alone."""
    return problems.of_error(FunctionCrashed(name, "TypeError", "its result has no form that can be sent"))
