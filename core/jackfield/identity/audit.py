"""A record of whom was denied what: one for each denied call and each refused credential, within bounds."""

import threading
from collections.abc import Callable
from time import monotonic
from typing import Final

from jackfield.admission.quota import Bucket
from jackfield.log import audit_log
from jackfield.model.entrance import entrance
from jackfield.model.names import NAME_LIMIT

_RATE: Final = 1.0  # records a second of one tenant: with their size, 30 MB a day whatever is tried
_AT_ONCE: Final = 100
_TENANTS: Final = 1_000  # whose records are bounded apart; what tenants there are is said by the configuration


class Audit:
    """Writes records of denials, none of which holds a credential.

    A flood must neither fill a disk nor hide what others do: of each tenant, and of all refused credentials together,
    a hundred are written at once and one a second after that. What is left out is counted, and the next record says
    how many.

    Args:
        clock: gives monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._valves: dict[str | None, _Valve] = {}

    def denied(self, tenant: str | None, function: str, reason: str) -> None:
        """Record a call that its tenant may not make.

        Args:
            tenant: whose call it was.
            function: what it called.
            reason: why not.
        """
        name, whose = function[:NAME_LIMIT], (tenant or "")[:NAME_LIMIT]
        self._write("denied", whose, f"{name}: {reason}", tenant=whose, func_name=name, reason=reason)

    def refused(self, reason: str) -> None:
        """Record a request whose credential is none that is known; the answer does not say why, so this does.

        Args:
            reason: why, without any of it.
        """
        self._write("refused", None, f"a request without a good credential: {reason}", reason=reason)

    def _write(self, event: str, whose: str | None, text: str, **fields: str) -> None:
        with self._lock:
            omitted = self._valve(whose).omitted(self._clock())
        if omitted is None:
            return
        here = entrance.get()
        where = {key: said for key, said in (("door", here.door), ("client", here.client)) if said}
        shown = "".join(f", {key} {said}" for key, said in where.items())
        more = {"omitted": omitted} if omitted else {}
        shown += f"; {omitted} like this were not recorded" if omitted else ""
        audit_log(event, text + shown, **fields, **where, **more)

    def _valve(self, whose: str | None) -> "_Valve":
        valve = self._valves.get(whose)
        if valve is None:
            # Names that are no tenant's share one, in a host where any name may be one.
            whose = whose if len(self._valves) < _TENANTS else ""
            valve = self._valves.setdefault(whose, _Valve(self._clock()))
        return valve


class _Valve:
    """Lets so many records through, and counts the others."""

    __slots__ = ("_bucket", "_left_out")

    def __init__(self, now: float) -> None:
        self._bucket, self._left_out = Bucket(_RATE, now, _AT_ONCE), 0

    def omitted(self, now: float) -> int | None:
        """Tell how many were left out before this one; None when it is left out, too."""
        if self._bucket.take(now):
            self._left_out += 1
            return None
        before, self._left_out = self._left_out, 0
        return before
