"""The functions. They are ordinary coroutines: pass a client yourself, and they run without any host."""

import asyncio
from typing import Annotated

import attrs
import httpx
import msgspec
from packaging.utils import InvalidName, canonicalize_name
from packaging.version import InvalidVersion, Version

from jackfield import Rejected, function, inject
from jackfield_sample_http.client import get

AT_ONCE = 8  # requests of one call


@attrs.frozen
class Release:
    """The latest release of a project.

    Attributes:
        name: the project's name, as its authors write it.
        version: the latest version.
        summary: one line about it, when there is one.
        requires_python: for which Pythons it is, when it says so.
    """

    name: str
    version: str
    summary: str | None = None
    requires_python: str | None = None


@attrs.frozen
class _Project:
    """The part that we read of PyPI's answer to `/pypi/<project>/json`."""

    info: Release


@function(timeout=10.0, idempotent=True)
async def release(project: str, *, client: httpx.AsyncClient = inject(name="pypi")) -> Release:
    """Find the latest release of a project.

    Args:
        project: its name, in any spelling that pip accepts.
        client: a client of the index.

    Returns:
        The release.

    Raises:
        Rejected: `bad_name` when no project can have that name, `unknown_project` when none has.
        Unavailable: when the index cannot be reached.
    """
    try:
        name = canonicalize_name(project, validate=True)  # also keeps "../" out of the URL
    except InvalidName:
        raise Rejected(f"{project!r} is not a project's name", code="bad_name") from None
    response = await get(client, f"/pypi/{name}/json")
    if response.status_code == httpx.codes.NOT_FOUND:
        raise Rejected(f"the index has no project {name!r}", code="unknown_project", details={"project": name})
    response.raise_for_status()
    return msgspec.json.decode(response.content, type=_Project).info


@function(timeout=30.0, idempotent=True)
async def outdated(
    installed: Annotated[dict[str, str], msgspec.Meta(max_length=500)],
    *,
    client: httpx.AsyncClient = inject(name="pypi"),
) -> dict[str, Release]:
    """Find the newer releases of many projects at once.

    Args:
        installed: versions by project name.
        client: a client of the index.

    Returns:
        The latest releases that are newer, by the names that were given. Projects that the index does not know are left
        out.

    Raises:
        Rejected: `bad_version` when one of the versions is none.
        Unavailable: when the index cannot be reached.
    """
    try:
        versions = {project: Version(version) for project, version in installed.items()}
    except InvalidVersion as error:
        raise Rejected(str(error), code="bad_version") from None
    free = asyncio.Semaphore(AT_ONCE)

    async def latest(project: str) -> Release | None:
        async with free:
            try:
                return await release(project, client=client)
            except Rejected:
                return None

    try:
        # Unlike `gather`, a task group leaves no request running when one fails or the deadline cancels us.
        async with asyncio.TaskGroup() as group:
            tasks = {project: group.create_task(latest(project)) for project in versions}
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None  # the index is down once, however many requests found out
    found = {project: task.result() for project, task in tasks.items()}
    return {
        project: newest
        for project, newest in found.items()
        if newest is not None and Version(newest.version) > versions[project]
    }
