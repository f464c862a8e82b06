"""What there is to know of a canary at one moment."""

from enum import StrEnum

import attrs


class CanaryState(StrEnum):
    """What became of a canary."""

    RUNNING = "running"
    PROMOTED = "promoted"
    ABORTED = "aborted"


@attrs.frozen
class CanaryStatus:
    """One moment of a canary.

    Attributes:
        name: the function or plugin it was made for.
        version: the version under trial.
        stable: the default version of its functions when it began.
        state: what became of it.
        share: the part of the tenants, and of the calls without tenant, that go there.
        tenants: those that go there in any case.
        functions: the functions it covers.
        reason: why it ended, or what the last look at it found.
        number: which of the host's canaries, from 1.
        labels: those that a tenant must have to be drawn, each with its value, and nobody else is; empty for everybody.
    """

    name: str
    version: str
    stable: str
    state: CanaryState
    share: float
    tenants: tuple[str, ...]
    functions: tuple[str, ...]
    reason: str = ""
    number: int = 0
    labels: tuple[tuple[str, str], ...] = ()
