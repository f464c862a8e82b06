"""What a host answers those who watch it over HTTP: `/metrics`, `/healthz`, `/readyz`. Every server mounts this."""

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import attrs
from prometheus_client import CollectorRegistry

from jackfield.errors import ResourceExhausted
from jackfield.host import Host
from jackfield.log import host_log
from jackfield.model.record import PluginState
from jackfield.observe.exposition import render
from jackfield.observe.multiprocess import process_registry
from jackfield.runtime.control import ControlLoop
from jackfield.runtime.pool import Pool
from jackfield.stack import error_type, frames

T = TypeVar("T")

PATHS: Final = ("/metrics", "/healthz", "/readyz")

_RENDERING: Final = 30.0  # seconds that a rendering may take
_AT_ONCE: Final = 8  # renderings; a collector that hangs must not take one more thread with every scrape
_METHODS: Final = ("GET", "HEAD")
_NOT_WANTED: Final = frozenset({PluginState.UNLOADED, PluginState.DISABLED})


@attrs.frozen
class Answer:
    """A response to an HTTP request.

    Attributes:
        status: the HTTP status.
        content_type: of the body.
        body: empty for HEAD.
        headers: further ones, by name; `Content-Length` is that of the body which a GET gets.
    """

    status: int
    content_type: str
    body: bytes
    headers: Mapping[str, str] = attrs.field(factory=dict)


class Probes:
    r"""Answers requests for `/metrics`, `/healthz` and `/readyz`; whoever speaks HTTP passes them on.

    `/healthz` is 200 while the event loops of the host answer: a process for which it is not should be restarted.
    `/readyz` is 200 while the host takes calls and all plugins run that start with it; others should not send calls
    while it is not. Both are 503 otherwise, and their body, JSON, says why.

    Args:
        host: whose.
        registry: what `/metrics` shows; by default prometheus-client's global registry, or, where
            `PROMETHEUS_MULTIPROC_DIR` is set, what all processes have written there, added up.
        control: a further loop that has to answer.
        pool: where metrics are rendered; by default one of its own.
        names: whether `/readyz` names plugins, their states, and the stage of their faults; for strangers it counts
            them.
        unready: says why others should send no calls yet, beside what the host knows; "" when nothing keeps them.
        patience: seconds that a loop, or the state of the plugins, may take; those who watch wait a little longer:
            Kubernetes a second, unless it is told otherwise.

    Examples:
        >>> host = Host(observers=())
        >>> probes = Probes(host, patience=30.0)
        >>> asyncio.run(probes.answer("GET", "/readyz"))
        Answer(status=503, content_type='application/json', body=b'{"status": "unavailable", "reason": ...}\n', ...)
        >>> with host:
        ...     asyncio.run(probes.answer("GET", "/readyz")).body
        b'{"status": "ok"}\n'
    """

    def __init__(
        self,
        host: Host,
        *,
        registry: CollectorRegistry | None = None,
        control: ControlLoop | None = None,
        pool: Pool | None = None,
        names: bool = False,
        unready: Callable[[], str] = str,
        patience: float = 0.8,
    ) -> None:
        self._host = host
        self._registry = process_registry() if registry is None else registry
        self._control = control
        self._pool = pool or Pool()
        self._names = names
        self._unready = unready
        self._patience = patience
        self._lock = threading.Lock()
        self._under_way: Counter[str] = Counter()

    async def answer(self, method: str, target: str, headers: Mapping[str, str] | None = None) -> Answer:
        """Answer one request, from any event loop. Never raises but for a cancellation.

        Args:
            method: GET or HEAD; others are refused.
            target: the path, with the query.
            headers: by name in lower case.

        Returns:
            The response.
        """
        try:
            path, query = (parts := urlsplit(target)).path, parts.query
        except ValueError:
            path, query = target, ""
        if path not in PATHS:
            return _finished(method, _json(404, reason="there is nothing here", paths=PATHS))
        if method not in _METHODS:
            refused = _json(405, reason=f"this answers {' and '.join(_METHODS)}", paths=PATHS)
            return _finished(method, attrs.evolve(refused, headers={"Allow": ", ".join(_METHODS)}))
        if path == "/healthz":
            made = await self._health()
        elif path == "/readyz":
            made = await self._in_time("readiness", self._readiness, self._patience)
        else:
            made = await self._in_time("metrics", lambda: self._metrics(query, headers or {}), _RENDERING)
        return _finished(method, made)

    async def _health(self) -> Answer:
        loops = dict(self._host.loops)
        if self._control is not None:
            loops["control loop"] = self._control.post
        answers = await asyncio.gather(*(_answers(post, self._patience) for post in loops.values()))
        silent = [name for name, answered in zip(loops, answers, strict=True) if not answered]
        if not silent:
            return _json(200)
        return _json(503, reason=f"no answer within {self._patience:g} s", silent=silent)

    def _readiness(self) -> Answer:
        wanted = [r for r in self._host.plugins.values() if r.auto_start and r.state not in _NOT_WANTED]
        failing = [record for record in wanted if record.state is not PluginState.RUNNING]
        further = self._unready()
        if self._host.running and not failing and not further:
            return _json(200)
        reasons = [] if self._host.running else ["the host does not take calls: it has not started, or it stops"]
        reasons += [further] if further else []
        reasons += [f"{len(failing)} of {len(wanted)} plugins do not run"] if failing else []
        if not (failing and self._names):
            return _json(503, reason="; ".join(reasons))
        shown = [
            {"name": each.name, "state": each.state.value, **({"stage": each.fault.stage} if each.fault else {})}
            for each in failing
        ]
        return _json(503, reason="; ".join(reasons), plugins=shown)

    def _metrics(self, query: str, headers: Mapping[str, str]) -> Answer:
        content_type, further, text = render(self._registry, query, headers)
        return Answer(200, content_type, text, further)

    async def _in_time(self, what: str, make: Callable[[], Answer], seconds: float) -> Answer:
        """Run something in the pool: it may ask code that is not ours, and must not block this loop."""
        with self._lock:
            if self._under_way[what] >= _AT_ONCE:
                return _json(503, reason=f"{_AT_ONCE} requests for the {what} are under way and have not ended")
            self._under_way[what] += 1

        def made() -> Answer:
            try:
                return make()
            finally:
                with self._lock:
                    self._under_way[what] -= 1

        try:
            return await _limited(self._pool.run(f"jackfield-{what}", made), seconds)
        except TimeoutError:
            return _json(503, reason=f"the {what} took longer than {seconds:g} s")
        except ResourceExhausted as error:  # it has not begun
            with self._lock:
                self._under_way[what] -= 1
            return _json(503, reason=error.reason)
        except Exception as error:  # noqa: BLE001  # a sick collector is not the caller's business; the log has it
            host_log("ERROR", f"the {what} could not be given: {error_type(error)}", stack=frames(error))
            return _json(500, reason=f"the {what} could not be given: the log says why")


async def _limited(coroutine: Coroutine[Any, Any, T], seconds: float) -> T:
    async with asyncio.timeout(seconds):
        return await coroutine


async def _answers(post: Callable[[Callable[[], object]], object], patience: float) -> bool:
    """Tell whether a loop does in time what it is asked to."""
    here = asyncio.get_running_loop()
    answered = here.create_future()

    def settle() -> None:
        if not answered.done():  # else it was too late
            answered.set_result(None)

    def reply() -> None:
        try:
            here.call_soon_threadsafe(settle)
        except RuntimeError:  # nobody waits any more: this loop is closed
            return

    try:
        post(reply)
    except RuntimeError:  # that one is closed
        return False
    await asyncio.wait([answered], timeout=patience)
    return answered.done()


def _json(status: int, **what: object) -> Answer:
    says = {"status": "ok" if status == 200 else "unavailable" if status == 503 else "error", **what}  # noqa: PLR2004
    return Answer(status, "application/json", json.dumps(says).encode() + b"\n", {"Cache-Control": "no-store"})


def _finished(method: str, answer: Answer) -> Answer:
    headers = {**answer.headers, "Content-Length": str(len(answer.body))}
    return attrs.evolve(answer, headers=headers, body=b"" if method == "HEAD" else answer.body)
