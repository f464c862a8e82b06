"""Verbs of a served host for `pluginctl`: their payload is as it was typed, and made by whoever knows the contract."""

from collections.abc import Callable, Mapping
from typing import Any

from jackfield.cli.payload import BadInput, build, decode
from jackfield.errors import PayloadError
from jackfield.host import Host
from jackfield.operations.submissions import submit
from jackfield.operations.verbs import Verb, call, checked
from jackfield.wire.documents import show_json


def consoles(host: Host) -> Mapping[str, Verb]:
    """Give them.

    Args:
        host: the host.
    """

    def console_call(
        name: str,
        typed: dict[str, str],
        document: bytes | None = None,
        timeout: float | None = None,
        tenant: str | None = None,
        version: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> tuple[bytes, list[str]]:
        payload = _payload(host, name, version, typed, document)
        return show_json(call(host, name, payload, timeout, tenant, version, headers))

    def console_submit(
        name: str,
        typed: dict[str, str],
        document: bytes | None = None,
        key: str | None = None,
        timeout: float | None = None,
        tenant: str | None = None,
        version: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        payload = _payload(host, name, version, typed, document)
        return submit(host, name, payload, key, timeout, tenant, version, headers)

    functions: dict[str, Callable[..., Any]] = {"console_call": console_call, "console_submit": console_submit}
    return {name: checked(name, function) for name, function in functions.items()}


def _payload(host: Host, name: str, version: str | None, typed: dict[str, str], document: bytes | None) -> Any:
    try:
        return decode(document) if document is not None else build(host.describe(name, version), typed)
    except BadInput as bad:
        raise PayloadError(name, "$", "a payload", str(bad)) from None
