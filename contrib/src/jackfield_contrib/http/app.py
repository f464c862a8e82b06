"""The application: which request goes where."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from jackfield import Host, Probes
from jackfield.errors import JackfieldError, Unavailable
from jackfield.model.entrance import entrance
from jackfield_contrib.http import page, problems
from jackfield_contrib.http.access import Access, Authenticate, entrance_of
from jackfield_contrib.http.bounds import Bounds
from jackfield_contrib.http.calling import Calling
from jackfield_contrib.http.catalogue import Catalogue
from jackfield_contrib.http.exchange import Exchange, Scope, Send
from jackfield_contrib.http.hooks import Hooks
from jackfield_contrib.http.presence import Gone, Receive
from jackfield_contrib.http.problems import Refused
from jackfield_contrib.http.streaming import Streaming
from jackfield_contrib.http.submitting import Submitting
from jackfield_contrib.http.turns import NOBODY, Turns

ASGI = Callable[[Scope, Receive, Send], Awaitable[None]]

_FUNCTIONS: Final = "/v1/functions/"
_LISTS: Final = frozenset({"/v1/functions", "/openapi.json"})
_OPEN: Final = frozenset({"/healthz", "/readyz", "/metrics", *page.PATHS})
_BATCH: Final = "/v1/calls:batch"
_SUBMIT: Final = "/v1/submit/"
_CALLS: Final = "/v1/calls/"
_EACH: Final = "/v1/calls"
_HOOKS: Final = "/v1/hooks/"


def asgi(
    host: Host,
    *,
    probes: Probes | None = None,
    bounds: Bounds | None = None,
    authenticate: Authenticate | None = None,
    strangers: bool = False,
    near: bool = False,
) -> "Application":
    """Make an ASGI application of a host's functions, to be served or mounted.

    Args:
        host: whose functions; it is started and stopped by whoever made it.
        probes: answer `/healthz`, `/readyz` and `/metrics`; by default those of the host, without names.
        bounds: of a request.
        authenticate: tells from a request's headers, by name in lower case, which tenant it is of, or None; by default
            what the host's configuration says of keys and tokens. As soon as the host has tenants, a request of none
            gets a 401.
        strangers: whether a request of none gets that in a host without tenants, too.
        near: whether it is served to this machine alone; then a request that a web page of another site makes gets a
            403 in a host without tenants.

    Returns:
        The application: `app.mount("/fn", asgi(host))` in Starlette or FastAPI, or an ASGI server runs it.
    """
    limits = bounds or Bounds()
    return Application(host, probes or Probes(host), limits, Access(host, authenticate, strangers=strangers, near=near))


class Application:
    """A host's functions as an ASGI application; `asgi` makes it.

    Attributes:
        closing: whether the server stops, and requests that it cancels are told so.
    """

    closing = False

    def __init__(self, host: Host, probes: Probes, bounds: Bounds, access: Access) -> None:
        self._probes, self._bounds, self._access, self._turns = probes, bounds, access, Turns(host)
        self._calling, self._catalogue = Calling(host, bounds, self._turns), Catalogue(host, bounds)
        self._submitting, self._streaming, self._hooks = Submitting(host, access), Streaming(host, bounds), Hooks(host)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, as ASGI has it."""
        kind = scope["type"]
        if kind != "http":
            await _other(kind, receive, send)
            return
        exchange = Exchange(scope, receive, send, self._bounds)
        try:
            path = _path(scope)
            entrance.set(entrance_of(scope, path))
            if path in _OPEN:
                await self._opened(scope, path, exchange)
            elif path.startswith(_HOOKS):  # whose they are their signatures say
                _only(scope["method"], "POST")
                self._access.keep_out_pages(exchange.headers)
                await self._hooks.take(path[len(_HOOKS) :], exchange)
            else:
                tenant = exchange.tenant = self._access.tenant(exchange.headers, scope, exchange.memory)
                if tenant is not None and (turn := self._turns.ask(tenant)) is not None:
                    await exchange.wait(turn)
                await self._answer(scope["method"], path, exchange)
        except Refused as refused:
            await self._refuse(refused, exchange)
        except JackfieldError as error:
            await exchange.problem(problems.of_error(error))
        except Gone:
            return
        except asyncio.CancelledError:
            if not self.closing or exchange.begun:
                raise
            await exchange.problem(problems.of_error(Unavailable("the door", "the host stops", "host_stopped")))

    async def _answer(self, method: str, path: str, exchange: Exchange) -> None:
        if path.startswith(_FUNCTIONS):
            name = path[len(_FUNCTIONS) :]
            if method == "POST":
                await (self._streaming if exchange.wants_events else self._calling).one(name, exchange)
            else:
                _only(method, "GET", "HEAD", "POST")
                await exchange.result(exchange.written(self._catalogue.function(name, exchange.tenant)))
        elif path == _BATCH:
            _only(method, "POST")
            await self._calling.batch(exchange)
        elif path.startswith(_SUBMIT):
            _only(method, "POST")
            await self._submitting.submit(path[len(_SUBMIT) :], exchange)
        elif path.startswith(_CALLS):
            _only(method, "GET", "HEAD", "DELETE")
            identifier = path[len(_CALLS) :]
            if method == "DELETE":
                await self._submitting.cancel(identifier, exchange)
            else:
                await self._submitting.show(identifier, exchange)
        elif path == _EACH:
            _only(method, "GET", "HEAD")
            await self._submitting.each(exchange)
        elif path in _LISTS:
            _only(method, "GET", "HEAD")
            made = self._catalogue.openapi if path == "/openapi.json" else self._catalogue.functions
            # Schemas of many functions take a while to write: not on the loop that calls run on.
            await exchange.result(exchange.written(await asyncio.to_thread(made, exchange.tenant)))
        else:
            raise Refused(404, "there is nothing here: functions are below /v1/functions/, /openapi.json lists them")

    async def _refuse(self, refused: Refused, exchange: Exchange) -> None:
        """Answer what never became a call; requests of nobody have their turn among the others."""
        if exchange.tenant is None and (turn := self._turns.ask(NOBODY)) is not None:
            await turn
        await exchange.problem(problems.of_request(refused))

    async def _opened(self, scope: Scope, path: str, exchange: Exchange) -> None:
        """Answer what needs no key: those who watch, and the page that shows what whoever reads it may call."""
        if path in page.PATHS:
            _only(scope["method"], "GET", "HEAD")
            await page.answer(path, exchange)
        else:
            await self._watched(scope, path, exchange)

    async def _watched(self, scope: Scope, path: str, exchange: Exchange) -> None:
        """Answer those who watch; what metrics tell of others is for operators, once there are tenants."""
        if path == "/metrics" and not self._access.may_watch(exchange.headers, scope):
            raise Refused(403, "metrics are for this machine and operators alone")
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in exchange.headers.items()}
        answer = await self._probes.answer(scope["method"], path, headers)
        others = {name: value for name, value in answer.headers.items() if name.lower() != "content-length"}
        await exchange.raw(answer.status, answer.content_type, answer.body, others)


def _path(scope: Scope) -> str:
    """Give the path below where the application is mounted."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    return path[len(root) :] if root and path.startswith(root) else path


def _only(method: str, *allowed: str) -> None:
    if method not in allowed:
        raise Refused(405, f"this answers {' and '.join(allowed)}", {"allow": ", ".join(allowed)})


async def _other(kind: str, receive: Receive, send: Send) -> None:
    """Answer what is no HTTP: the start and the end of a server, and a WebSocket, which nobody has here."""
    if kind == "lifespan":
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return
    if kind == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008})
