"""API keys: made here, known by their digests alone."""

import secrets
import string
from collections.abc import Mapping
from hashlib import sha256
from hmac import compare_digest
from typing import Final

from jackfield.model.permissions import BEGIN, DIGEST

PREFIX: Final = "jf_"
"""How a key begins, so that people and programs that look for leaked ones see what it is."""

_LETTERS: Final = string.ascii_letters + string.digits
_LENGTH: Final = 43  # of 62 signs: 256 bits. No salt, nor many rounds: nobody finds what nobody chose


def new_key() -> str:
    """Make a key that nobody can guess.

    Examples:
        >>> key = new_key()
        >>> key.startswith("jf_"), len(key), key != new_key()
        (True, 46, True)
    """
    return PREFIX + "".join(secrets.choice(_LETTERS) for _ in range(_LENGTH))


def digest_of(key: str) -> str:
    """Give what a configuration has of a key.

    Examples:
        >>> digest_of("jf_example")
        'sha256:65fc636847e9713c1b3289ea9fab212e9c6c1d913185798d996e02a3ff41e7d7'
    """
    return DIGEST + sha256(key.encode()).hexdigest()


def holder(keys: Mapping[bytes, tuple[tuple[bytes, str], ...]], given: bytes) -> str | None:
    """Tell whose a key is.

    The time that this takes tells nothing of the keys that there are: where to look is said by the digest of what was
    given, which nobody can choose, and there all of it is compared in constant time.

    Args:
        keys: those of `Permissions`.
        given: what was sent as a key.

    Returns:
        The tenant, or None.
    """
    digest = sha256(given).digest()
    found = None
    for known, tenant in keys.get(digest[:BEGIN], ()):
        if compare_digest(known, digest):
            found = tenant
    return found
