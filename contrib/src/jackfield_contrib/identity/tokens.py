"""JSON Web Tokens (RFC 7519): whose a request is by the word of an issuer."""

import math
from hashlib import sha256
from time import time
from typing import Any, Final

from joserfc import jwt
from joserfc.errors import (
    BadSignatureError,
    ClaimError,
    ExpiredTokenError,
    InvalidKeyIdError,
    JoseError,
    UnsupportedAlgorithmError,
)
from joserfc.jwk import KeySet
from joserfc.jws import JWSRegistry

from jackfield.config import JwtConfig
from jackfield.errors import Unavailable
from jackfield_contrib.identity.credential import NotGood
from jackfield_contrib.identity.jwks import FileKeys, Keys, UrlKeys

_KEPT: Final = 4_096  # tokens that were verified, and need not be again
_EVER: Final = 1e12  # seconds since 1970


class _Pinned(JWSRegistry):
    """Has the algorithms that it was given, and warns of none: the configuration has named them."""

    max_header_length = 4_096

    def get_alg(self, name: str) -> Any:
        if name not in (self.allowed or ()):
            raise UnsupportedAlgorithmError
        return self.algorithms[name]


class Tokens:
    """Verifies tokens.

    A token is verified by the keys of the issuer that the configuration names, and by no key or address that it names
    itself, with one of the algorithms that the configuration lists, whatever it says itself.

    Args:
        settings: what a token must be.
        keys: the issuer's; by default those that the settings name.
    """

    def __init__(self, settings: JwtConfig, keys: Keys | None = None) -> None:
        where = settings.keys
        self._settings = settings
        self._keys: Keys = keys or (UrlKeys(where) if where.startswith("https://") else FileKeys(where))
        self._registry = _Pinned(algorithms=settings.algorithms, strict_check_header=False)
        self._claims = jwt.JWTClaimsRegistry(
            leeway=math.ceil(settings.leeway),
            iss={"essential": True, "value": settings.issuer},
            aud={"essential": True, "value": settings.audience},
            exp={"essential": True},
        )
        self._of: KeySet | None = None
        self._seen: dict[bytes, tuple[str, float]] = {}

    def prepare(self) -> None:
        """Have the keys fetched before the first token comes."""
        self._keys.current()

    def tenant(self, token: bytes) -> str:
        """Tell the tenant that a token names.

        Raises:
            NotGood: if it is not what a token must be.
            Unavailable: while there are no keys to verify it by.
        """
        keys = self._keys.current()
        if keys is None:
            raise Unavailable("identity", "the keys of [auth.jwt] have not come: try again in a moment", ran=False)
        if keys is not self._of:  # what an earlier key has signed is verified anew
            self._of, self._seen = keys, {}
        digest = sha256(token).digest()
        known = self._seen.get(digest)
        if known is not None and time() < known[1]:
            return known[0]
        claims = self._verified(token, keys)
        tenant = claims.get(self._settings.tenant_claim)
        if not isinstance(tenant, str) or not tenant:
            raise NotGood(f"it has no claim {self._settings.tenant_claim!r} that is a text")
        if len(self._seen) >= _KEPT:
            self._seen = {}
        self._seen[digest] = tenant, min(claims["exp"], _EVER) + self._settings.leeway
        return tenant

    def _verified(self, token: bytes, keys: KeySet) -> dict[str, Any]:
        """Check signature and claims; what is wrong is told by its kind alone, since a token is a stranger's text."""
        try:
            found = jwt.decode(token, keys, registry=self._registry)
            self._claims.validate(found.claims)
        except InvalidKeyIdError:
            self._keys.missed()
            raise NotGood("it names no key that the issuer has") from None
        except UnsupportedAlgorithmError:
            raise NotGood(f"its algorithm is none of {', '.join(self._settings.algorithms)}") from None
        except BadSignatureError:
            raise NotGood("its signature is wrong") from None
        except ExpiredTokenError:
            raise NotGood("it has expired") from None
        except ClaimError as error:
            raise NotGood(f"its claim {error.claim!r} is missing, or not what it must be") from None
        except (JoseError, ValueError, TypeError, KeyError, RecursionError) as error:
            raise NotGood(f"it is no token: {type(error).__name__}") from None
        return found.claims
