"""Routes: the versions of one function and the rule that picks among them."""

from collections.abc import Awaitable, Callable, Mapping
from itertools import accumulate
from math import ceil
from types import MappingProxyType
from typing import Any

import attrs

from jackfield.model.call import DRAW, Call
from jackfield.model.gate import Gate
from jackfield.model.spec import FunctionSpec


@attrs.frozen(eq=False)
class Endpoint:
    """One version of a function, ready to be called: its spec and the closures compiled from it.

    Attributes:
        spec: what loading learned of the function.
        run: takes a `Call`, gives the result; blocks until there is one.
        arun: takes a `Call`, gives an awaitable of the result; to be awaited on the host's home loop.
        timeout: seconds for calls whose caller gives none: the function's own limit, else the host's; or None.
        version: the version this endpoint runs.
        limit: the function's own limit in seconds, which no caller can extend; or None.
        gate: the calls in flight.
        close: releases what the closures hold outside themselves (metric children); idempotent.
    """

    spec: FunctionSpec
    run: Callable[[Call], Any]
    arun: Callable[[Call], Awaitable[Any]]
    timeout: float | None = None
    close: Callable[[], None] = lambda: None
    gate: Gate = attrs.field(factory=Gate)
    # Kept here and not looked up in the spec: each look-up that a call is spared is a twentieth of its cost.
    version: str = attrs.field(init=False, default=attrs.Factory(lambda self: self.spec.version, takes_self=True))
    limit: float | None = attrs.field(
        init=False, default=attrs.Factory(lambda self: self.spec.policy.timeout, takes_self=True)
    )


@attrs.frozen
class Split:
    """A rule that sends parts of a function's calls to other versions than the default.

    A version that is not registered (yet) is passed over.

    Attributes:
        salt: what the draw is salted with: the function or plugin that the rule was made for, so that all functions of
            one plugin draw alike, and two functions by themselves do not.
        shares: version and its part of the tenants, and of the calls without tenant, from 0.0 to 1.0; one after another
            on the scale of the draw, so that raising a share only adds.
        tenants: tenant → version, whatever the draw says.
        trial: the version that a canary tries; "" for a rule of the configuration.
        labels: those that a tenant must have to be drawn, each with its value; then nobody else is drawn, and those who
            are are among `tenants`.
    """

    salt: str
    shares: tuple[tuple[str, float], ...] = ()
    tenants: Mapping[str, str] = MappingProxyType({})
    trial: str = ""
    labels: Mapping[str, str] = MappingProxyType({})


@attrs.frozen
class Rule:
    """What the configuration, and operators after it, say of a function's versions, whenever they are registered.

    Attributes:
        default: the version that calls go to when no rule says otherwise; None for the first by rank. `1.0` also means
            `1.0+digest`, the label of a reload, when there is no `1.0`.
        split: the rest.
    """

    default: str | None = None
    split: Split | None = None


@attrs.frozen(eq=False)
class Route:
    """All versions of one function. What a call needs of them is worked out here, once for each change.

    Attributes:
        name: the function's name.
        default: the version that calls go to when no rule says otherwise.
        endpoints: by version, the first by rank first.
        split: the rule that sends a part of the calls elsewhere, or None.
        ranks: version → its place among the versions: that of its plugin among the plugins, or behind all plugins that
            had been declared when it was registered by hand.
        stable: the default's endpoint.
        quick: its `run`, when no rule and no limit can say otherwise, else None: then there is nothing to choose.
        lots: the same where a share may be drawn, and no limit can say otherwise, else empty: the end of each on the
            scale from 0 to 2**30, its `run`, its version, and why it is picked.
        named: tenant → endpoint and why, of those that the rule names.
        drawn: tenant → its place on the scale from 0 to 2**30; empty without a split.
        draws: the shares, as the end of each on the scale from 0 to 2**30, and its endpoint.
    """

    name: str
    default: str
    endpoints: Mapping[str, Endpoint]
    split: Split | None = None
    ranks: Mapping[str, int] = MappingProxyType({})
    stable: Endpoint = attrs.field(
        init=False, default=attrs.Factory(lambda self: self.endpoints[self.default], takes_self=True)
    )
    quick: Callable[[Call], Any] | None = attrs.field(
        init=False, default=attrs.Factory(lambda self: _quick(self.stable, self.split), takes_self=True)
    )
    named: Mapping[str, tuple[Endpoint, str]] = attrs.field(
        init=False, default=attrs.Factory(lambda self: _named(self.endpoints, self.split), takes_self=True)
    )
    drawn: Mapping[str, int] = attrs.field(
        init=False, repr=False, default=attrs.Factory(lambda self: _remembered(self.split), takes_self=True)
    )
    draws: tuple[tuple[int, Endpoint], ...] = attrs.field(
        init=False, default=attrs.Factory(lambda self: _draws(self.endpoints, self.split), takes_self=True)
    )
    lots: tuple[tuple[int, Callable[[Call], Any], str, str], ...] = attrs.field(
        init=False,
        repr=False,
        default=attrs.Factory(lambda self: _lots(self.split, self.stable, self.draws), takes_self=True),
    )

    @property
    def spec(self) -> FunctionSpec:
        """The default version's spec."""
        return self.stable.spec


def _quick(stable: Endpoint, split: Split | None) -> Callable[[Call], Any] | None:
    return stable.run if split is None and stable.timeout is None else None


def _named(endpoints: Mapping[str, Endpoint], split: Split | None) -> dict[str, tuple[Endpoint, str]]:
    tenants = split.tenants if split is not None else {}
    return {tenant: (endpoints[version], "tenant") for tenant, version in tenants.items() if version in endpoints}


def _remembered(split: Split | None) -> Mapping[str, int]:
    if split is None:
        return {}
    from jackfield.model.draws import draws_of  # noqa: PLC0415  # hashing is for those who split; when a route is made

    return draws_of(split.salt)


def _draws(endpoints: Mapping[str, Endpoint], split: Split | None) -> tuple[tuple[int, Endpoint], ...]:
    shares = split.shares if split is not None and not split.labels else ()
    ends = accumulate(share for _, share in shares)
    there = ((end, version) for end, (version, _) in zip(ends, shares, strict=True) if version in endpoints)
    return tuple((ceil(end * 2**DRAW), endpoints[version]) for end, version in there)


def _lots(
    split: Split | None, stable: Endpoint, draws: tuple[tuple[int, Endpoint], ...]
) -> tuple[tuple[int, Callable[[Call], Any], str, str], ...]:
    lots = [*((end, endpoint, "share") for end, endpoint in draws), (2**DRAW, stable, "")]
    if split is None or any(endpoint.timeout is not None for _, endpoint, _ in lots):
        return ()
    return tuple((end, endpoint.run, endpoint.version, rule) for end, endpoint, rule in lots)
