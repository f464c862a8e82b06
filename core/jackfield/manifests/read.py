"""A file → a `Manifest`, or one `ConfigError` with every fault of it."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from jackfield.config.apart import resources_of
from jackfield.config.documents import Kind
from jackfield.config.keys import keys
from jackfield.config.problems import PLACEHOLDER, KeyPath, Problem, quoted
from jackfield.config.structure import structure_as
from jackfield.manifests.find import MANIFEST
from jackfield.manifests.model import Document, LifecycleTable, Manifest, Probe, ResourcesTable
from jackfield.manifests.tree import NotYaml, Tree
from jackfield.model.grants import Grants, capability_fault
from jackfield.model.names import name_fault, version_fault

SIZE_LIMIT: Final = 128 * 1024
KIND: Final = Kind("manifest", SIZE_LIMIT, "a manifest is a small YAML file", MANIFEST)
_TEXTS: Final = (("name",), ("version",))
_LISTS: Final = (("capabilities",), ("resources", "capabilities"))
_PROBE_FIX: Final = "write it as in '/health?timeout=3s': one name, and at most a timeout in s, ms or m"


def read_manifest(path: str | os.PathLike[str]) -> Manifest:
    """Read a manifest.

    Args:
        path: the file.

    Returns:
        What it says.

    Raises:
        ConfigError: with every fault of it, each with its key, its line and a fix.
    """
    file = Path(path)
    return parse_manifest(KIND.read(file), file)


def parse_manifest(data: bytes, file: Path) -> Manifest:
    r"""Read a manifest from bytes.

    Args:
        data: the content.
        file: where it is from.

    Returns:
        What it says.

    Raises:
        ConfigError: with every fault of it.

    Examples:
        >>> found = parse_manifest(b"name: ocr\nlifecycle: {healthcheck: '/health?timeout=3s'}\n", Path("m.yaml"))
        >>> found.healthcheck
        Probe(name='health', timeout=3.0)
        >>> parse_manifest(b"name: ocr\nlifecycel: {}\n", Path("m.yaml"))
        Traceback (most recent call last):
        ...
        jackfield.errors.ConfigError: m.yaml:2: lifecycel: unknown key → did you mean 'lifecycle'?
    """
    text = KIND.decode(data, file)
    try:
        tree = Tree(text, _TEXTS)
    except NotYaml as error:
        raise KIND.wrong(file, error.reason, error.fix, line=error.line, key="text") from None
    if not isinstance(tree.value, dict):
        raise KIND.wrong(file, "it is no table of keys", "begin with name: NAME", line=1, key="text")
    raw, origins = _expanded(tree.value)
    document, problems = structure_as(Document, raw, _repair)
    faulty = {problem.path for _, problem in tree.problems}
    found = (attrs.evolve(one, path=_origin(one.path, origins)) for one in (*problems, *_check(document)))
    problems = [one for one in found if one.path not in faulty]  # what is left out for one fault is no further one
    if problems or tree.problems:
        raise KIND.error(file, problems, tree.lines, located=tree.problems)
    return _manifest(document, file)


def _manifest(document: Document, file: Path) -> Manifest:
    life = document.lifecycle
    return Manifest(
        name=document.name,
        version=document.version,
        functions=document.functions,
        resources=resources_of(document.resources),
        asks=Grants.of((*document.resources.capabilities, *document.capabilities), eager=document.imports == "eager"),
        healthcheck=Probe.parse(life.healthcheck) if life.healthcheck else None,
        graceful_shutdown=Probe.parse(life.graceful_shutdown) if life.graceful_shutdown else None,
        idempotent=document.idempotent,
        restart=document.restart,
        file=file,
    )


def _expanded(value: Mapping[str, Any]) -> tuple[dict[str, Any], dict[KeyPath, KeyPath]]:
    """Write the short forms out: keys without a value are not there, `idempotent: true`, tables of capabilities.

    Returns:
        The document in its long form, and where it was written what has another path there.
    """
    raw = _given(value, Document)
    for key, table in (("resources", ResourcesTable), ("lifecycle", LifecycleTable)):
        if isinstance(raw.get(key), dict):
            raw[key] = _given(raw[key], table)
    if isinstance(raw.get("idempotent"), bool):
        raw["idempotent"] = ["*"] if raw["idempotent"] else []
    origins: dict[KeyPath, KeyPath] = {}
    for path in _LISTS:
        holder = raw if len(path) == 1 else raw.get(path[0])
        written = holder.get(path[-1]) if isinstance(holder, dict) else None
        if isinstance(holder, dict) and isinstance(written, list):
            found = list(_capabilities(written))
            holder[path[-1]] = [item for _, item in found]
            origins |= {(*path, place): (*path, *origin) for place, (origin, _) in enumerate(found)}
    return raw, origins


def _given(table: Mapping[str, Any], model: type[Any]) -> dict[str, Any]:
    known = keys(model)
    return {key: item for key, item in table.items() if item is not None or key not in known}


def _capabilities(written: list[Any]) -> Any:
    """Give each capability and its path: `network:outbound: [a:1, b:2]` are two."""
    for place, item in enumerate(written):
        if isinstance(item, dict) and item and all(isinstance(each, list) for each in item.values()):
            for kind, rest in item.items():
                for number, each in enumerate(rest):
                    yield (place, kind, number), f"{kind}:{each}" if isinstance(each, str) else each
        else:
            yield (place,), item


def _check(document: Document) -> list[Problem]:
    """Find what no single value can tell, or its type cannot say."""
    problems: list[Problem] = []
    version = document.version
    if version is not None and (fault := version_fault(version, "")):
        problems.append(Problem(("version",), fault.reason, fault.fix))
    for place, name in enumerate(document.functions or ()):
        if name != PLACEHOLDER and (fault := name_fault(name)):
            problems.append(Problem(("functions", place), f"{quoted(name)}: {fault.reason}", fault.fix))
        elif name != PLACEHOLDER and name in (document.functions or ())[:place]:
            problems.append(Problem(("functions", place), f"{quoted(name)} is there twice", "take one of them away"))
    for path, capabilities in zip(_LISTS, (document.capabilities, document.resources.capabilities), strict=True):
        for place, text in enumerate(capabilities):
            if text != PLACEHOLDER and (wrong := capability_fault(text)):
                problems.append(Problem((*path, place), *wrong))
    for key, probe in (
        ("healthcheck", document.lifecycle.healthcheck),
        ("graceful-shutdown", document.lifecycle.graceful_shutdown),
    ):
        if probe is not None and Probe.parse(probe) is None:
            reason = f"{quoted(probe)} names no function or method of the plugin"
            problems.append(Problem(("lifecycle", key), reason, _PROBE_FIX))
    return problems


def _repair(document: dict[str, Any], problem: Problem) -> None:
    """Take out what is wrong; in a list, others must keep their places."""
    holder: Any = document
    for step in problem.path[:-1]:
        holder = holder[step]
    last: Any = problem.path[-1]
    if isinstance(holder, list):
        holder[last] = PLACEHOLDER
    else:
        del holder[last]


def _origin(path: KeyPath, origins: Mapping[KeyPath, KeyPath]) -> KeyPath:
    return origins.get(path, path)
