"""The public keys of an issuer (RFC 7517): from a file, or from where the issuer publishes them."""

import json
import os
import random
import ssl
import threading
import urllib.request
from collections.abc import Callable
from time import monotonic
from typing import Any, Final, Protocol
from urllib.error import HTTPError

from joserfc.errors import JoseError
from joserfc.jwk import JWKRegistry, KeySet

from jackfield.log import host_log

_LIMIT: Final = 262_144  # bytes of a set
_MOST: Final = 100  # keys of it
_PUBLIC: Final = frozenset({"RSA", "EC", "OKP"})
_PRIVATE: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth"})
_RSA: Final = 2_048  # bits that a key must have (RFC 7518, section 3.3); a sign of base64 is six
_SECONDS: Final = 5.0  # that each step of a request may take
_WHOLE: Final = 30.0  # and all of it: an answer that comes a byte at a time would keep newer keys away for ever
_EVERY: Final = 300.0  # seconds after which they are fetched again
_AGAIN: Final = 10.0  # seconds at least between two requests because a token names a key that is not there
_LONGEST: Final = 300.0  # pause after failures
_STALE: Final = 86_400.0  # seconds after which keys are no longer good that could not be fetched again


def read(data: bytes) -> KeySet:
    """Read a JWK set, and leave out what cannot verify a signature of its issuer.

    A shared secret is never taken: whoever verifies by one could sign by it.

    Raises:
        ValueError: if it is none, or has no key that can be used.
    """
    if len(data) > _LIMIT:
        raise ValueError(f"it has more than {_LIMIT:,} bytes")
    try:
        found = json.loads(data)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    rows = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(rows, list) or len(rows) > _MOST:
        raise ValueError(f'it is no {{"keys": […]}} of at most {_MOST} keys')
    keys = [key for row in rows if (key := _key(row)) is not None]
    if not keys:
        raise ValueError("it has no public key that can be used")
    return KeySet(keys)


def _key(row: Any) -> Any:
    if not isinstance(row, dict) or row.get("kty") not in _PUBLIC or row.get("use", "sig") != "sig":
        return None
    if row["kty"] == "RSA" and len(str(row.get("n"))) * 6 < _RSA:
        return None
    try:
        return JWKRegistry.import_key({name: value for name, value in row.items() if name not in _PRIVATE})
    except (JoseError, ValueError, TypeError, KeyError):  # one of a kind that is newer than this
        return None


class Keys(Protocol):
    """Gives the keys of an issuer."""

    def current(self) -> KeySet | None:
        """Give them; None while there are none."""

    def missed(self) -> None:
        """Take note that a token names a key that is not among them."""


class FileKeys:
    """Keys in a file, which is read again when it is another.

    Args:
        path: the file.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._seen: object = None
        self._keys: KeySet | None = None

    def current(self) -> KeySet | None:
        """Give those of the file; while it cannot be read, those that it had."""
        try:
            stat = os.stat(self._path)  # noqa: PTH116  # asked for each token
            seen: object = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
        except OSError as error:
            seen = type(error)
        if seen != self._seen:
            self._seen = seen
            try:
                with open(self._path, "rb") as file:  # noqa: PTH123  # as above
                    self._keys = read(file.read(_LIMIT + 1))
            except (OSError, ValueError) as error:
                host_log("ERROR", f"the keys of [auth.jwt] in {self._path} cannot be used: {_said(error)}")
        return self._keys

    def missed(self) -> None:
        """Do nothing: a file that has changed is seen anyhow."""


class UrlKeys:
    """Keys that an issuer publishes, fetched beside the requests: none of them waits.

    They are fetched again every five minutes, and sooner when a token names one that is not there. After a failure the
    pause is a second, and twice as long each time; the keys that there are stay good for a day.

    Args:
        url: where, over https.
        fetch: gets it.
        clock: gives monotonic seconds.
        start: runs something in another thread.
    """

    def __init__(
        self,
        url: str,
        fetch: Callable[[str], bytes] | None = None,
        clock: Callable[[], float] = monotonic,
        start: Callable[[Callable[[], None]], None] | None = None,
    ) -> None:
        self._url, self._fetch, self._clock, self._start = url, fetch or _fetched, clock, start or _beside
        self._lock = threading.Lock()
        self._keys: KeySet | None = None
        self._good = self._asked = -1e9  # monotonic seconds: when they came, when they were asked for
        self._due = -1e9
        self._failures = 0
        self._under_way = False

    def current(self) -> KeySet | None:
        """Give those that were fetched last; None before that, and when that is too long ago."""
        now = self._clock()
        if now >= self._due:
            self._begin(now)
        return self._keys if now - self._good < _STALE else None

    def missed(self) -> None:
        """Fetch them sooner; whoever makes up names of keys does not make that often."""
        with self._lock:
            if self._failures == 0:
                self._due = min(self._due, self._asked + _AGAIN)
        self.current()

    def _begin(self, now: float) -> None:
        with self._lock:
            if self._under_way or now < self._due:
                return
            self._under_way, self._asked = True, now
        self._start(self._refresh)

    def _refresh(self) -> None:
        try:
            keys, failure = read(self._fetch(self._url)), ""
        except (OSError, ValueError) as error:  # urllib's errors are of these
            keys, failure = None, _said(error)
        with self._lock:
            now = self._clock()
            if keys is not None:
                self._keys, self._good, self._failures = keys, now, 0
                pause = _EVERY
            else:
                self._failures += 1
                pause = min(_LONGEST, 2.0 ** min(self._failures - 1, 10))
            self._due = now + pause * random.uniform(0.8, 1.0)  # noqa: S311  # hosts are not to ask all at once
            self._under_way = False
        if failure:
            more = f"; they are asked for again in {pause:g} s"
            host_log("WARNING", f"the keys of [auth.jwt] at {self._url} cannot be had: {failure}{more}")


def _said(error: Exception) -> str:
    reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
    return f"{type(error).__name__}: {reason}"


def _beside(work: Callable[[], None]) -> None:
    threading.Thread(target=work, name="jackfield-jwks", daemon=True).start()


class _NowhereElse(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """Follow nobody: the keys are where the configuration says."""


def _fetched(url: str) -> bytes:
    context = ssl.create_default_context()
    opener = urllib.request.build_opener(_NowhereElse, urllib.request.HTTPSHandler(context=context))
    try:
        until = monotonic() + _WHOLE
        with opener.open(url, timeout=_SECONDS) as answer:
            data = b""
            while len(data) <= _LIMIT and (part := answer.read1(_LIMIT)):
                data += part
                if monotonic() > until:
                    raise TimeoutError(f"it has not answered within {_WHOLE:g} s")
    except HTTPError as error:
        error.close()
        raise OSError(f"it answers with {error.code}") from None
    return data
