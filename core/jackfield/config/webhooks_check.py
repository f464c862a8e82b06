"""What can be wrong with the webhooks and deliveries of a file, and what they come to."""

import base64
import binascii
import re
from collections.abc import Collection, Iterator, Mapping
from importlib.metadata import entry_points
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from jackfield.config.adapters import ADAPTERS
from jackfield.config.problems import PLACEHOLDER, KeyPath, Problem, did_you_mean, quoted
from jackfield.config.secrets import Secret, resolve_secrets
from jackfield.config.webhooks import DELIVERIES, Delivery, DeliveryConfig, Webhook, WebhookConfig
from jackfield.errors import ConfigError
from jackfield.model.names import name_fault

_SEGMENT: Final = re.compile(r"[A-Za-z0-9_~-][A-Za-z0-9._~-]{0,99}", re.ASCII)
_PREFIX: Final = "whsec_"


def key_bytes(secret: str) -> bytes:
    """Give the key that a secret of Standard Webhooks stands for; empty if it is none.

    Examples:
        >>> key_bytes("whsec_c2VjcmV0")
        b'secret'
        >>> key_bytes("no base64!")
        b''
    """
    text = secret.removeprefix(_PREFIX).rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return b""


def check_webhooks(
    declared: Mapping[str, WebhookConfig], folder: Path, tenants: Collection[str] | None
) -> tuple[Mapping[str, Webhook], list[Problem]]:
    """Check webhooks, and find their secrets.

    Args:
        declared: name → table.
        folder: that of the configuration file.
        tenants: those that there are; None for no such table.

    Returns:
        Name → webhook, and what is wrong.
    """
    made: dict[str, Webhook] = {}
    problems: list[Problem] = []
    for name, config in declared.items():
        at: KeyPath = ("webhooks", name)
        secrets, wrong = _secrets(config.secret, at, folder, standard=config.scheme == "standard")
        problems += [*_webhook_problems(name, config, at, tenants), *wrong]
        made[name] = Webhook(config.function, config.scheme, secrets, config.tenant)
    return made, problems


def check_deliveries(
    declared: Mapping[str, DeliveryConfig], folder: Path
) -> tuple[Mapping[str, Delivery], list[Problem]]:
    """Check deliveries, and find their secrets.

    Args:
        declared: name → table.
        folder: that of the configuration file.

    Returns:
        Name → delivery, and what is wrong.
    """
    made: dict[str, Delivery] = {}
    problems: list[Problem] = []
    if declared and not entry_points(group=ADAPTERS, name="delivery:http"):
        reason = "nothing that is installed can send results"
        problems.append(Problem(("deliveries",), reason, "pip install 'jackfield-contrib[http]'"))
    for name, config in declared.items():
        at: KeyPath = ("deliveries", name)
        secrets, wrong = _secrets(config.secret, at, folder, standard=True)
        problems += [*_delivery_problems(name, config, at), *wrong]
        made[name] = Delivery(name, config.url, secrets, config.functions, config.private)
    return made, problems


def _webhook_problems(
    name: str, config: WebhookConfig, at: KeyPath, tenants: Collection[str] | None
) -> Iterator[Problem]:
    if not _SEGMENT.fullmatch(name):
        fix = "use letters, digits and '._~-', as in 'github.push': it is a part of a path"
        yield Problem(at, f"{quoted(name)} cannot be a webhook's name", fix)
    fault = name_fault(config.function)
    if fault is not None and config.function != PLACEHOLDER:
        yield Problem((*at, "function"), fault.reason, fault.fix)
    if config.scheme == "none" and config.secret:
        yield Problem((*at, "secret"), 'with scheme = "none" nothing is signed', "take it away, or name the scheme")
    if config.scheme != "none" and not config.secret:
        yield Problem((*at, "secret"), "required, and missing", 'add secret = "env:…", which the sender signs with')
    if tenants is not None and config.tenant is None:
        yield Problem((*at, "tenant"), "required once there are tenants", 'add tenant = "…", whom its calls are for')
    elif tenants is not None and config.tenant not in tenants and config.tenant != PLACEHOLDER:
        fix = did_you_mean(str(config.tenant), tenants) or "declare it under [tenants]"
        yield Problem((*at, "tenant"), f"no tenant is named {quoted(str(config.tenant))}", fix)


def _delivery_problems(name: str, config: DeliveryConfig, at: KeyPath) -> Iterator[Problem]:
    if name_fault(DELIVERIES + name) is not None:
        fix = "use letters, digits, '_' and '-', in parts joined by dots"
        yield Problem(at, f"{quoted(name)} cannot be a delivery's name", fix)
    if not config.secret:
        yield Problem((*at, "secret"), "required, and missing", 'add secret = "env:…", which the receiver checks with')
    if not config.functions:
        yield Problem(
            (*at, "functions"), "required, and missing", 'add functions = ["billing.*"], whose results go there'
        )
    if config.url != PLACEHOLDER:
        yield from _url_problems(config, (*at, "url"))


def _url_problems(config: DeliveryConfig, at: KeyPath) -> Iterator[Problem]:
    try:
        url: SplitResult | None = urlsplit(config.url)
        port = url.port if url is not None else None
    except ValueError:
        url, port = None, None
    spelled = config.url.isascii() and config.url.isprintable() and " " not in config.url
    if url is None or not spelled or url.scheme not in {"http", "https"} or not url.hostname or port == 0:
        yield Problem(at, f"{quoted(config.url)} is no address", "write it as in 'https://crm.example.com/hook'")
        return
    if url.username is not None or url.password is not None:
        yield Problem(at, "an address holds no user and password", "what is sent is signed: take them away")
    if url.fragment:
        yield Problem(at, "what follows '#' is never sent", "take it away")
    if config.private:
        return
    fix = "add private = true if you mean this machine or your own network"
    if url.scheme == "http":
        yield Problem(at, "whoever is on the way can read http", f"use https; or {fix}")
    if _inside(url.hostname):
        yield Problem(at, f"{quoted(url.hostname)} is on this machine or a private network", fix)


def _inside(host: str) -> bool:
    """Tell what can be told of an address without asking anybody; each that is sent to is looked at again."""
    try:
        return not ip_address(host).is_global
    except ValueError:
        return host.lower() == "localhost" or host.lower().endswith(".localhost")


def _secrets(
    said: str | tuple[str, ...], at: KeyPath, folder: Path, *, standard: bool
) -> tuple[tuple[Secret, ...], list[Problem]]:
    if PLACEHOLDER in said:
        return (), []
    options: dict[str, Any] = {"secret": said if isinstance(said, str) else list(said)}
    resolved, problems = resolve_secrets(options, at, folder)
    found = resolved["secret"] if isinstance(resolved["secret"], list) else [resolved["secret"]]
    secrets = tuple(each for each in found if isinstance(each, Secret))
    if standard and not problems:
        for place, secret in enumerate(secrets):
            if not _is_key(secret):
                where = (*at, "secret") if isinstance(said, str) else (*at, "secret", place)
                fix = "write 24 to 64 random bytes in base64 there, after 'whsec_': openssl rand -base64 32"
                problems.append(Problem(where, f"what {secret.reference} holds is no secret of Standard Webhooks", fix))
    return secrets, problems


def _is_key(secret: Secret) -> bool:
    try:
        return bool(key_bytes(secret.reveal()))
    except ConfigError:
        return False
