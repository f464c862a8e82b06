"""Who has sent a webhook: signatures by Standard Webhooks, GitHub and Stripe, and what tells one delivery from another.

- [Standard Webhooks](https://www.standardwebhooks.com): `webhook-id`, `webhook-timestamp`, `webhook-signature`.
- [GitHub](https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries): `X-Hub-Signature-256` of
  the body alone; `X-GitHub-Delivery` is not signed.
- [Stripe](https://docs.stripe.com/webhooks/signature): `Stripe-Signature`; an event's `id` is in its body.
"""

import hmac
import time
from collections.abc import Callable, Collection, Mapping
from hashlib import blake2b, sha256
from typing import Any, Final

import msgspec

from jackfield.config.webhooks import Scheme

TOLERANCE: Final = 300.0
"""Seconds that a sender's clock may differ, the way included; as in Standard Webhooks and in Stripe's libraries."""

_MOST: Final = 32  # signatures of one request
_LONGEST: Final = 300  # characters of the id of a delivery
_DIGITS: Final = 12  # of a time in seconds

Headers = Mapping[bytes, bytes]


class Forged(Exception):
    """A request is not of whom it says that it is of, or is too old; why is for the log alone."""


class Nameless(Exception):
    """A request has nothing that tells it from another delivery; it says what is missing."""


def verify(scheme: Scheme, secrets: Collection[str], headers: Headers, body: bytes) -> None:
    """Look who has sent a request; with every secret, so that the time tells nothing of which it was.

    Args:
        scheme: how it is signed.
        secrets: any of which it may be signed with.
        headers: name in lower case → value.
        body: as it came, byte by byte.

    Raises:
        Forged: when it is none of theirs, and why.
    """
    check = _CHECKS.get(scheme)
    matches = [check(secret, headers, body) for secret in secrets] if check is not None else [True]
    if not any(matches):
        raise Forged("no signature matches")


def delivery(scheme: Scheme, headers: Headers, body: bytes) -> str | None:
    """Give what a delivery is known by, however often it is sent; None if the scheme has nothing of the kind.

    Raises:
        Nameless: when it ought to have something, and has not.
    """
    if scheme == "none":
        return None
    if scheme == "stripe":
        return _event_of_stripe(body)
    name = b"webhook-id" if scheme == "standard" else b"x-github-delivery"
    said = headers.get(name, b"").decode("latin-1")
    if not 0 < len(said) <= _LONGEST or not said.isascii() or not said.isprintable():
        raise Nameless(f"the header {name.decode()} has 1 to {_LONGEST} printable characters")
    return said


def _event_of_stripe(body: bytes) -> str:
    try:
        said = msgspec.json.decode(body, type=_Event).id
    except (msgspec.DecodeError, RecursionError):
        said = ""
    named = 0 < len(said) <= _LONGEST and said.isascii() and said.isprintable()
    return said if named else blake2b(body, digest_size=16).hexdigest()


class _Event(msgspec.Struct):
    id: str


# --- One secret -------------------------------------------------------------------------------------------------------


def _standard(secret: str, headers: Headers, body: bytes) -> bool:
    from standardwebhooks import Webhook, WebhookVerificationError  # noqa: PLC0415  # for those who have such a webhook

    told = {
        name: headers.get(name.encode(), b"").decode("latin-1")
        for name in ("webhook-id", "webhook-timestamp", "webhook-signature")
    }
    if "." in told["webhook-id"]:  # what is signed is joined by dots: one more, and the time is somewhere else in it
        raise Forged("its id has a dot")
    if told["webhook-signature"].count(" ") >= _MOST:
        raise Forged("it has too many signatures")
    # Each by itself: of a sender that has several, one may be of a kind that the library does not know.
    for signature in told["webhook-signature"].split(" "):
        try:
            Webhook(secret).verify(body, {**told, "webhook-signature": signature}, json_parse=False)
        except WebhookVerificationError as error:
            if "signature found" not in str(error):  # of the time, or of a header that is missing
                raise Forged(str(error)) from None
        except ValueError:  # no base64, no UTF-8, no version
            continue
        else:
            return True
    return False


def _github(secret: str, headers: Headers, body: bytes) -> bool:
    said = headers.get(b"x-hub-signature-256")
    if said is None:
        raise Forged("it is not signed")
    expected = "sha256=" + hmac.new(secret.encode(), body, sha256).hexdigest()
    return hmac.compare_digest(expected.encode(), said)


def _stripe(secret: str, headers: Headers, body: bytes) -> bool:
    said = headers.get(b"stripe-signature")
    if said is None:
        raise Forged("it is not signed")
    parts = [part.strip().partition(b"=")[::2] for part in said.split(b",")]
    times = [value for name, value in parts if name == b"t"]
    signatures = [value for name, value in parts if name == b"v1"]
    if len(times) != 1 or not times[0].isdigit() or len(times[0]) > _DIGITS or not 0 < len(signatures) <= _MOST:
        raise Forged("its signature is none of Stripe's")
    if abs(time.time() - int(times[0])) > TOLERANCE:
        raise Forged("it is too old, or a clock is wrong")
    expected = hmac.new(secret.encode(), times[0] + b"." + body, sha256).hexdigest().encode()
    matches = [hmac.compare_digest(expected, signature) for signature in signatures]
    return any(matches)


_CHECKS: Final[Mapping[Any, Callable[[str, Headers, bytes], bool]]] = {
    "standard": _standard,
    "github": _github,
    "stripe": _stripe,
}
