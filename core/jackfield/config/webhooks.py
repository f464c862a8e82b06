"""What `jackfield.toml` says of calls that come in signed, and of results that are sent out."""

from typing import Literal

import attrs

from jackfield.config.leaves import Pattern, Text
from jackfield.config.secrets import Secret

Scheme = Literal["standard", "github", "stripe", "none"]
"""Who signs, and how."""

DELIVERIES = "deliveries."
"""What the names of the functions begin with that send results."""


@attrs.frozen
class WebhookConfig:
    """One webhook: what others POST is a call of a function.

    Attributes:
        function: what is called.
        scheme: how a request is signed: by Standard Webhooks, by GitHub, by Stripe, or not at all.
        secret: of the signature, by reference: `env:NAME` or `file:/path`; several while one is rotated.
        tenant: whom the calls are for; required once there are tenants.
    """

    function: Text
    scheme: Scheme = "standard"
    secret: Text | tuple[Text, ...] = ()
    tenant: Text | None = None


@attrs.frozen
class DeliveryConfig:
    """Where the results of submitted calls are sent.

    Attributes:
        url: where they are POSTed to: https, or anything with `private`.
        secret: they are signed with, by reference; several while one is rotated.
        functions: patterns of the functions whose results these are.
        private: whether the address may be of this machine or a private network.
    """

    url: Text
    secret: Text | tuple[Text, ...] = ()
    functions: tuple[Pattern, ...] = ()
    private: bool = False


@attrs.frozen
class Webhook:
    """A webhook, checked.

    Attributes:
        function: what is called.
        scheme: how a request is signed.
        secrets: any of which it may be signed with.
        tenant: whom the calls are for, or None.
    """

    function: str
    scheme: Scheme = "standard"
    secrets: tuple[Secret, ...] = ()
    tenant: str | None = None


@attrs.frozen
class Delivery:
    """Where results are sent, checked.

    Attributes:
        name: of the table.
        url: where to.
        secrets: all of which they are signed with.
        functions: patterns of the functions whose results these are.
        private: whether the address may be of this machine or a private network.
    """

    name: str
    url: str
    secrets: tuple[Secret, ...] = ()
    functions: tuple[str, ...] = ()
    private: bool = False
