"""The `[auth]` of a file: how strangers say who they are, beside the keys of tenants."""

from typing import Annotated, Literal

import attrs
from msgspec import Meta

from jackfield.config.leaves import Text

Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"]
"""Signatures by a private key. Those by a shared secret are not among them, so a public key is never taken for one."""

Leeway = Annotated[float, Meta(ge=0, le=300, description="a number of seconds from 0 to 300")]


@attrs.frozen
class JwtConfig:
    """Tokens of an issuer (RFC 7519), as `Authorization: Bearer`.

    Attributes:
        issuer: the `iss` that they must have.
        audience: the `aud` that they must have, or have among others.
        keys: the issuer's public keys as a JWK set: a file, relative to this one, or an https URL.
        algorithms: how they may be signed.
        tenant_claim: the claim that names the tenant.
        leeway: seconds that the clocks may differ.
    """

    issuer: Text
    audience: Text
    keys: Text
    algorithms: tuple[Algorithm, ...] = ("RS256", "ES256", "EdDSA")
    tenant_claim: Text = "tenant"
    leeway: Leeway = 30.0


@attrs.frozen
class AuthConfig:
    """How strangers say who they are, beside the keys of tenants.

    Attributes:
        jwt: tokens of an issuer.
    """

    jwt: JwtConfig | None = None
