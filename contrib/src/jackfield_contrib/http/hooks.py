"""Webhooks: what others POST, signed, is a call of a function that the configuration names.

A delivery is a submitted call whose key is what the sender knows it by: sent again, it is the same call.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from jackfield import Host, Submission, SubmissionState
from jackfield.config import Webhook
from jackfield.errors import ConfigError, JackfieldError, SubmissionConflict
from jackfield.identity import Audit
from jackfield.log import host_log
from jackfield.model.entrance import Entrance, entrance
from jackfield.model.retry import worth_it
from jackfield_contrib.http import problems
from jackfield_contrib.http.exchange import Exchange
from jackfield_contrib.http.hooks_events import Event, events_of
from jackfield_contrib.http.hooks_signatures import Forged, Nameless, delivery, verify
from jackfield_contrib.http.presence import while_there
from jackfield_contrib.http.problems import Refused
from jackfield_contrib.identity import retraced

KEPT: Final = 3 * 86_400.0
"""Seconds that a delivery is known at least, where the store lasts: so long GitHub and Stripe send one again."""

_CALLS: Final = "/v1/calls/"
_AT_ONCE: Final = 100  # events of a batch
_TRACE: Final = b"traceparent"
_OWN: Final = frozenset({"x-version"})  # what the signature does not cover picks no version


class Hooks:
    """Takes the webhooks of a host's configuration, as it was applied last.

    Args:
        host: whose.
    """

    def __init__(self, host: Host) -> None:
        self._host, self._audit = host, Audit()

    async def take(self, name: str, exchange: Exchange) -> None:
        """Answer `POST /v1/hooks/NAME`.

        Raises:
            Refused: when there is none of that name, its signature does not hold, or its body is not what it says.
        """
        configuration = self._host.configuration
        hook = None if configuration is None else configuration.webhooks.get(name)
        if hook is None:
            raise Refused(404, "there is no such webhook")
        entrance.set(Entrance("http", exchange.client))
        body = await exchange.body()
        # Secrets are read anew each time, and a large body takes a while: not on the loop that calls run on.
        await asyncio.to_thread(self._verify, name, hook, exchange, body)
        try:
            known_by = delivery(hook.scheme, exchange.headers, body)
        except Nameless as error:
            raise Refused(400, str(error)) from None
        events, batch = events_of(exchange, body, form=hook.scheme == "github")
        exchange.tenant = hook.tenant
        if (trace := exchange.headers.get(_TRACE)) is not None:  # no scheme signs headers
            exchange.headers[_TRACE] = retraced(trace)
        passed = {key: value for key, value in (exchange.passed_on() or {}).items() if key not in _OWN}
        calls = [_call(name, place, event, known_by or "", passed) for place, event in enumerate(events)]
        if batch:
            await self._many(hook, calls, exchange)
        else:
            await self._one(hook, calls[0], exchange)

    def _verify(self, name: str, hook: Webhook, exchange: Exchange, body: bytes) -> None:
        """Look who has sent a request; the log hears why not, the sender nothing.

        Raises:
            Refused: when the signature does not hold, or there is nothing to check it with.
        """
        secrets = []
        for secret in hook.secrets:
            try:
                secrets.append(secret.reveal())
            except ConfigError as error:
                host_log("ERROR", f"webhook {name}: {error}", hook=name)
        if hook.secrets and not secrets:
            raise Refused(503, "this webhook cannot be checked now")
        try:
            verify(hook.scheme, secrets, exchange.headers, body)
        except Forged as error:
            self._audit.refused(f"webhook {name}: {error}")
            raise Refused(401, "the signature does not hold", {"www-authenticate": "Signature"}) from None

    async def _one(self, hook: Webhook, call: "_Call", exchange: Exchange) -> None:
        handle = await self._accepted(hook, call)
        if self._host.durable_calls.lasts:
            location = exchange.below(f"{_CALLS}{handle.id}")
            await exchange.result(exchange.written(_shown(handle)), 202, {"location": location})
            return
        with while_there(exchange.receive):  # the call goes on though nobody waits: sent again, it answers
            result = await handle.aresult()
        await exchange.result(exchange.written(result))

    async def _many(self, hook: Webhook, calls: Sequence["_Call"], exchange: Exchange) -> None:
        """Answer a batch: each event by itself, but all are to come again when one could only not be taken now."""
        places = asyncio.Semaphore(_AT_ONCE)

        async def each(call: _Call) -> dict[str, Any]:
            async with places:
                return await self._entry(hook, call, exchange)

        with while_there(exchange.receive):
            answers = await asyncio.gather(*map(each, calls))
        await exchange.results(answers, 202 if self._host.durable_calls.lasts else 200)

    async def _entry(self, hook: Webhook, call: "_Call", exchange: Exchange) -> dict[str, Any]:
        try:
            handle = await self._accepted(hook, call)
        except Refused as refused:
            return dict(problems.of_request(refused).document)
        except JackfieldError as error:
            if worth_it(error, idempotent=True):
                raise
            return dict(problems.of_error(error).document)
        if self._host.durable_calls.lasts:
            return _shown(handle)
        try:
            return {"result": exchange.written(await handle.aresult())}
        except JackfieldError as error:
            return dict(problems.of_error(error).document)

    async def _accepted(self, hook: Webhook, call: "_Call") -> Submission:
        submissions = self._host.durable_calls
        lasts = submissions.lasts
        try:
            return await submissions.asubmit(
                hook.function,
                call.payload,
                key=call.key,
                tenant=hook.tenant,
                headers=call.headers,
                durable=lasts,
                keep=KEPT if lasts else None,
            )
        except SubmissionConflict:
            raise Refused(409, "this delivery has come before, with another content") from None


@attrs.frozen
class _Call:
    payload: Any
    key: str | None
    headers: Mapping[str, str]


def _call(name: str, place: int, event: Event, known_by: str, passed: Mapping[str, str]) -> _Call:
    """Make the call of an event; without a key where nothing tells one delivery from another."""
    others = {key: value for key, value in passed.items() if not key.startswith("ce-")} if event.headers else passed
    # The event of a sender that signs is known by what is signed; its own name may stand in a header, which is not.
    key = f"webhook {name} {known_by} {place}" if known_by else f"webhook {name} {event.name}" if event.name else None
    return _Call(event.payload, key, {**others, **event.headers})


def _shown(handle: Submission) -> dict[str, Any]:
    return {"id": handle.id, "function": handle.function, "status": SubmissionState.ACCEPTED.value}
