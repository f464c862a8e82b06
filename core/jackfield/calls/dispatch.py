"""One call, from top to bottom.

`Caller.call` reads the snapshot once, picks the endpoint, fixes the deadline, makes the `Call` and enters the
endpoint's walk, which `walk.py` generated when the function was registered: observers start, payload, deadline, body,
observers finish.
"""

from collections.abc import Callable, Mapping
from contextvars import copy_context
from random import getrandbits
from time import monotonic
from typing import Any, Final, Protocol

import msgspec

from jackfield.calls.routing import choose
from jackfield.model.call import DRAW, NO_HEADERS, Call, current, draw_of, new_number
from jackfield.model.deadline import LONGEST, seconds_of
from jackfield.model.headers import Headers
from jackfield.model.injectable import injectable
from jackfield.model.route import Endpoint, Route
from jackfield.model.snapshot import Snapshot
from jackfield.runtime.pool import Pool

_surrounding: Final = current.get


class Snapshots(Protocol):
    """What holds the current snapshot: the registry."""

    snapshot: Snapshot


@injectable
class Caller:
    """Calls functions by name: what `Host` is, and what a plugin gets injected.

    Inside a function, calls made through it are within the same deadline, trace, tenant and version set.
    """

    def __init__(
        self,
        registry: Snapshots,
        unknown: Endpoint,
        find: Callable[[str], None],
        pool: Pool,
    ) -> None:
        self._snapshots: Snapshots = registry
        self._unknown = unknown
        self._find = find
        self._pool = pool

    def call(  # noqa: C901, PLR0912  # written out, since each call of a helper costs every call 50 ns
        self,
        name: str,
        payload: Any = None,
        /,
        timeout: float | None = None,
        tenant: str | None = None,
        version: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Call a function and wait for its result.

        Args:
            name: the function's dotted name.
            payload: plain data, or an instance of the payload type; for a function of several parameters a mapping of
                them.
            timeout: seconds this call may take; the function's own limit and the deadline around it apply as well. This
                and what follows is given by keyword; the marker that would enforce it costs every call 50 ns.
            tenant: whom the call is for; a nested call inherits it.
            version: the version to call instead of the one the route picks.
            headers: passed on to the function as `current_call().headers`, where their names are found in any case; a
                nested call inherits them.

        Returns:
            What the function returns.

        Raises:
            TypeError: an argument has the wrong type.
            ValueError: the timeout is NaN, infinite or too long.
            FunctionNotFound: no such name or version.
            PayloadError: the payload does not fit.
            DeadlineExceeded: the time is up.
            Rejected: the function refuses.
            FunctionCrashed: the function raised anything else.
            AsyncCallRequired: the function is async, and an event loop is running here.
            ResourceExhausted: too many threads are stuck.
            Unavailable: the host is not running.
        """
        snapshot = self._snapshots.snapshot
        try:
            route = snapshot.routes[name]
        except (KeyError, TypeError):  # TypeError: a name that cannot be hashed
            route = None
        if route is None or version is not None or headers is not None or _surrounding() is not None:
            endpoint, call = self._prepare(name, payload, timeout, tenant, version, headers)
            walk = endpoint.run  # `endpoint.run(call)` would look for a method first: a twentieth of a call in 3.11
            return walk(call)
        # What follows is `_prepare` for calls that nothing surrounds, written out: it costs half.
        if timeout is None and tenant is None:
            if (run := route.quick) is not None:
                return run(Call(name, payload, route.default, snapshot.revision))
            if lots := route.lots:
                drawn = getrandbits(DRAW)
                for end, run, shown, rule in lots:
                    if drawn < end:
                        return run(Call(name, payload, shown, snapshot.revision, None, None, rule, ~drawn))
        endpoint, rule, number = route.stable, "", None
        if tenant is not None and type(tenant) is not str:
            _check_text(tenant, "a tenant")
        if route.split is not None:
            drawn = 0
            if tenant is None:
                drawn = getrandbits(DRAW)
                number = ~drawn
            endpoint, rule = choose(route, tenant, drawn)
        if tenant is not None and snapshot.permissions.denial(name, tenant, False):  # noqa: FBT003  # whether it picks a version
            endpoint = self._unknown
        if timeout is None:
            timeout = endpoint.timeout
            deadline = None if timeout is None else monotonic() + timeout
        else:
            if type(timeout) is not float or not 0.0 <= timeout <= LONGEST:  # it hardly ever is
                seconds_of(timeout)
            limit = endpoint.limit
            deadline = monotonic() + (timeout if limit is None or timeout <= limit else limit)
        walk = endpoint.run
        return walk(Call(name, payload, endpoint.version, snapshot.revision, deadline, tenant, rule, number))

    async def acall(
        self,
        name: str,
        payload: Any = None,
        /,
        timeout: float | None = None,
        tenant: str | None = None,
        version: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Await a function's result, from any event loop; a sync function runs in a thread.

        Arguments and errors as for `call`.
        """
        if type(name) is not str:
            _check_text(name, "a function's name")
        if name not in self._snapshots.snapshot.routes:
            # It may import the function's module.
            context = copy_context()
            await self._pool.run(name, lambda: context.run(self._find, name))
        endpoint, call = self._prepare(name, payload, timeout, tenant, version, headers)
        return await endpoint.arun(call)

    def _prepare(  # noqa: C901, PLR0912  # one decision after another, each two lines
        self,
        name: str,
        payload: Any,
        timeout: float | None,
        tenant: str | None,
        version: str | None,
        headers: Mapping[str, str] | None,
    ) -> tuple[Endpoint, Call]:
        """Pick the endpoint and make the call, whatever surrounds it."""
        if type(name) is not str:
            _check_text(name, "a function's name")
        if tenant is not None and type(tenant) is not str:
            _check_text(tenant, "a tenant")
        if version is not None and type(version) is not str:
            _check_text(version, "a version")
        if timeout is not None:
            timeout = seconds_of(timeout)
        picked = None
        if headers is not None:
            given = headers if type(headers) is Headers else Headers(headers)
            headers, picked = given, given.fields.get("x-version")
        if name not in self._snapshots.snapshot.routes:
            self._find(name)
        snapshot = self._snapshots.snapshot
        outer = _surrounding()
        if tenant is None and outer is not None:
            tenant = outer.tenant
        number = None if outer is not None else new_number()
        draw = outer.draw if number is None and outer is not None else draw_of(number or 0)
        rule = ""
        endpoint: Endpoint | None = None
        if (route := snapshot.routes.get(name)) is not None:
            if version is None and picked is not None:
                version, rule = picked[1], "header"
            if snapshot.permissions.denial(name, tenant, rule == "header"):
                pass  # the endpoint that refuses works out the reason again
            elif version is not None:
                endpoint, rule = route.endpoints.get(version), rule or "asked"
            else:
                endpoint = self._same_set(snapshot, route, outer)
                endpoint, rule = (endpoint, "set") if endpoint is not None else choose(route, tenant, draw)
        if endpoint is None:
            endpoint, shown = self._unknown, version or ""
        else:
            shown = endpoint.version
        if timeout is None:
            timeout = endpoint.timeout
        elif endpoint.limit is not None and endpoint.limit < timeout:
            timeout = endpoint.limit
        around = outer.deadline if outer is not None else None
        deadline = around if timeout is None else monotonic() + timeout
        if around is not None and deadline is not None and around < deadline:
            deadline = around
        if headers is None:
            headers = outer.headers if outer is not None else NO_HEADERS
        revision = snapshot.revision
        return endpoint, Call(name, payload, shown, revision, deadline, tenant, rule, number, headers, outer)

    def whose(self, name: str, version: str | None = None, headers: Mapping[str, str] | None = None) -> str:
        """Give the plugin whose function a call would reach now; "" for one of no plugin, or that is not there.

        Args:
            name: as for `call`, as are the others.
            version: as there.
            headers: as there.
        """
        return self._prepare(name, None, None, None, version, headers)[0].spec.plugin

    @staticmethod
    def _same_set(snapshot: Snapshot, route: Route, outer: Call | None) -> Endpoint | None:
        """Find the version that a surrounding function of the same plugin runs in, unless it is the default."""
        plugin = route.spec.plugin
        while outer is not None and plugin and len(route.endpoints) > 1:
            around = snapshot.routes.get(outer.name)
            if outer.version in route.endpoints and around is not None and around.spec.plugin == plugin:
                return route.endpoints[outer.version]
            outer = outer.parent
        return None

    def _again(self, call: Call) -> tuple[Endpoint, Call]:
        """Pick anew for a call whose endpoint was retired between the look-up and its entry."""
        snapshot = self._snapshots.snapshot
        route = snapshot.routes.get(call.name)
        endpoint: Endpoint | None = None
        if route is not None:
            if call.rule in {"asked", "header"}:
                endpoint = route.endpoints.get(call.version)
            else:
                same = self._same_set(snapshot, route, call.parent)
                endpoint = same or choose(route, call.tenant, call.draw)[0]
        version = call.version if endpoint is None else endpoint.version
        again = msgspec.structs.replace(call, version=version, revision=snapshot.revision)
        return endpoint or self._unknown, again


def _check_text(given: object, what: str) -> None:
    if not isinstance(given, str):
        raise TypeError(f"{what} is a str, not {type(given).__name__}")
