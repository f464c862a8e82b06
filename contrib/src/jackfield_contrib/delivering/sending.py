"""Sends messages over HTTP, and says what becomes of one by the receiver's answer."""

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from random import random
from typing import Final

from jackfield.config import Delivery
from jackfield.durable.deliveries import GONE, Message
from jackfield.errors import ConfigError, Rejected, ResourceExhausted
from jackfield_contrib.delivering.posting import Answer, NotPublic, post
from jackfield_contrib.delivering.telling import signed, written

PAUSES: Final = (5.0, 30.0, 120.0, 600.0, 1_800.0, 7_200.0, 18_000.0, 36_000.0)
"""Seconds between two attempts: about 18 hours in all, as the guidelines of Standard Webhooks have it."""

_JITTER: Final = 0.2  # of a pause, at most, in addition: those who failed together come back one by one
_LONGEST: Final = 86_400.0  # seconds that a receiver may have one wait
_AGAIN: Final = frozenset({408, 425, 429})  # beside what is at fault itself: 500 and above
_AGENT: Final = "jackfield"


class HttpSender:
    """Sends messages of a host; adapter of `jackfield.durable.deliveries.Sender`.

    Args:
        pauses: seconds between two attempts; by default `PAUSES`.

    Attributes:
        attempts: how often a message is tried.
    """

    def __init__(self, pauses: Sequence[float] | None = None) -> None:
        self._pauses = PAUSES if pauses is None else pauses
        self.attempts = len(self._pauses) + 1

    async def send(self, delivery: Delivery, message: Message, /) -> int:
        """Send a message, once; give the status of the answer.

        Raises:
            Rejected: when another try would not change it; with the code `gone` when the receiver wants nothing more.
            ResourceExhausted: when it is to be tried again, and when.
        """
        try:
            headers, body = await asyncio.to_thread(_prepared, delivery, message)
            answer = await post(delivery.url, body, headers, private=delivery.private)
        except NotPublic as error:
            fix = "if you mean this machine or your own network, add private = true"
            raise Rejected(f"{delivery.name}: {error} is no public address: {fix}", code="private_address") from None
        except (OSError, ConfigError) as error:
            raise self._later(delivery, message, str(error) or type(error).__name__) from None
        if 200 <= answer.status < 300:  # noqa: PLR2004  # it was taken
            return answer.status
        raise self._verdict(delivery, message, answer)

    def _verdict(self, delivery: Delivery, message: Message, answer: Answer) -> Rejected | ResourceExhausted:
        status = answer.status
        said = f"its receiver has answered {status}"
        if status >= 500 or status in _AGAIN:  # noqa: PLR2004  # as above
            return self._later(delivery, message, said, _seconds(answer.retry_after))
        if status == 410:  # noqa: PLR2004  # as above
            return Rejected(f"{delivery.name}: {said}: it wants nothing more", code=GONE)
        if 300 <= status < 400:  # noqa: PLR2004  # as above
            return Rejected(f"{delivery.name}: {said}: no redirect is followed, name the new url", code="redirected")
        return Rejected(f"{delivery.name}: {said}", code="not_taken", details={"status": status})

    def _later(self, delivery: Delivery, message: Message, why: str, wanted: float = 0.0) -> ResourceExhausted:
        """Say when to try again: by the number of the attempt, counted anew when a message was tried in vain before."""
        pause = self._pauses[(message.attempt - 1) % self.attempts] if message.attempt % self.attempts else 0.0
        seconds = max(pause * (1.0 + _JITTER * random()), min(wanted, _LONGEST))  # noqa: S311  # no secret
        return ResourceExhausted(delivery.name, why, seconds)


def _prepared(delivery: Delivery, message: Message) -> tuple[dict[str, str], bytes]:
    """Write and sign a message; secrets are read anew each time."""
    headers, body = written(message)
    secrets = [secret.reveal() for secret in delivery.secrets]
    return {**headers, **signed(message, body, secrets, datetime.now(UTC)), "user-agent": _AGENT}, body


def _seconds(retry_after: str) -> float:
    """Read `Retry-After` (RFC 9110): seconds, or a date; 0 for none, or none that can be read."""
    if retry_after.isascii() and retry_after.isdigit():
        return float(retry_after[:10])
    try:
        return max(parsedate_to_datetime(retry_after).timestamp() - time.time(), 0.0)
    except (TypeError, ValueError, OverflowError):
        return 0.0
