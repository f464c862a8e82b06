"""What can be called: a list for people and programs, and OpenAPI 3.1 for what makes clients of it."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from jackfield import Host
from jackfield.errors import FunctionNotFound
from jackfield.model.snapshot import Snapshot
from jackfield_contrib.contracts import contract_of
from jackfield_contrib.http.bounds import Bounds
from jackfield_contrib.http.openapi import Versions, document

_KEPT: Final = 64  # documents of tenants


class Catalogue:
    """Describes the functions of a host; OpenAPI is written anew only when something has changed.

    Args:
        host: whose.
        bounds: of requests.
    """

    def __init__(self, host: Host, bounds: Bounds) -> None:
        self._host, self._bounds = host, bounds
        self._kept: dict[str | None, tuple[Snapshot, Mapping[str, Any]]] = {}

    def functions(self, tenant: str | None = None) -> list[dict[str, Any]]:
        """List the functions that a tenant may call, by name."""
        return [self._row(name) for name in self._names(tenant)]

    def _names(self, tenant: str | None) -> list[str]:
        snapshot = self._host.snapshot
        return [name for name in sorted(snapshot.functions) if not snapshot.permissions.denial(name, tenant, False)]  # noqa: FBT003  # picks no version

    def function(self, name: str, tenant: str | None = None) -> dict[str, Any]:
        """Describe one function, with its schemas.

        Raises:
            FunctionNotFound: if there is none of that name that the tenant may call.
        """
        if self._host.snapshot.permissions.denial(name, tenant, False):  # noqa: FBT003  # as above
            raise FunctionNotFound(name)
        return {**self._row(name), **contract_of(self._host.describe(name))}

    def _row(self, name: str) -> dict[str, Any]:
        spec = self._host.describe(name)
        return {"name": name, "version": spec.version, "plugin": spec.plugin, "about": spec.summary}

    def openapi(self, tenant: str | None = None) -> Mapping[str, Any]:
        """Give the OpenAPI 3.1 document of the functions that a tenant may call, one path each."""
        snapshot = self._host.snapshot
        kept = self._kept.get(tenant)
        if kept is None or (kept[0].revision, kept[0].permissions) != (snapshot.revision, snapshot.permissions):
            if len(self._kept) >= _KEPT:
                self._kept = {}
            pickers, subjects = snapshot.permissions.pickers, snapshot.permissions.subjects
            made = document(
                self._versions(tenant),
                snapshot.revision,
                self._bounds,
                knows=None if pickers is None else "keys and certificates" if subjects else "keys",
                picks=pickers is None or tenant in pickers,
            )
            kept = self._kept[tenant] = snapshot, made
        return kept[1]

    def _versions(self, tenant: str | None) -> Iterator[tuple[str, Versions]]:
        """Give each function with the contracts of its versions, the default first."""
        for name in self._names(tenant):
            try:
                spec = self._host.describe(name)
            except FunctionNotFound:  # it went meanwhile
                continue
            route = self._host.snapshot.functions.get(name)
            others = {} if route is None else {version: each.spec for version, each in route.endpoints.items()}
            yield name, {spec.version: spec, **others}
