"""A file → a `Configuration`, or one `ConfigError` with every fault of it."""

import hashlib
import os
import re
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from jackfield.config import files
from jackfield.config.auth_check import check_auth
from jackfield.config.check import check
from jackfield.config.documents import Kind
from jackfield.config.doors_check import check_doors
from jackfield.config.executors_check import check_executors
from jackfield.config.flow_check import check_flows
from jackfield.config.lines import PluginLines, index_lines
from jackfield.config.model import EXECUTORS, Configuration
from jackfield.config.problems import KeyPath, Problem
from jackfield.config.quick import structure_quickly
from jackfield.config.store_check import check_store_url
from jackfield.config.trust import Trust
from jackfield.config.webhooks_check import check_deliveries, check_webhooks
from jackfield.errors import ConfigError, Fault
from jackfield.log import host_log

SIZE_LIMIT = 1024 * 1024
KIND = Kind("config", SIZE_LIMIT, "a configuration is a small TOML file", "jackfield.toml")
_NESTING_LIMIT = 64
_POSITION = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)\Z")


def load_config(path: str | os.PathLike[str], *, executors: Collection[str] = EXECUTORS) -> Configuration:
    """Read a configuration file.

    The file is read as a whole at one moment: when it changes meanwhile, it is read again.

    Args:
        path: the file, usually `jackfield.toml`.
        executors: the names that `executor` may have.

    Returns:
        The configuration, with nothing wrong in it that can be seen without importing a plugin.

    Raises:
        ConfigError: with every fault of the file, each with its key, its line and a fix; for root also when others may
            write it, which other users are warned of.
    """
    file = Path(path)
    data = KIND.read(file)
    _believe(file)
    return parse_config(data, file, executors=executors)


def parse_config(data: bytes, file: Path, *, executors: Collection[str] = EXECUTORS) -> Configuration:
    r"""Read a configuration from bytes.

    Args:
        data: the content of a configuration file.
        file: the file it is from; relative paths are relative to its folder.
        executors: the names that `executor` may have.

    Returns:
        The configuration.

    Raises:
        ConfigError: with every fault.

    Examples:
        >>> config = parse_config(b'[[plugin]]\nname = "text"\npath = "my_pkg.text"\n', Path("jackfield.toml"))
        >>> config.plugins["text"].path
        'my_pkg.text'
        >>> parse_config(b'[[plugin]]\nname = "text"\npaht = "my_pkg.text"\n', Path("jackfield.toml"))
        Traceback (most recent call last):
        ...
        jackfield.errors.ConfigError: jackfield.toml:1: plugin[0].path: required, and missing
          - plugin[0].path (line 1) [text]: config: required, and missing → add path = "module:Object"
          - plugin[0].paht (line 3) [text]: config: unknown key → did you mean 'path'?
    """
    text = KIND.decode(data, file)
    raw = _parse(text, file)
    here = Path(files.whole(str(file)))
    document, problems = structure_quickly(raw), list[Problem]()
    if document is None:
        from jackfield.config.structure import structure  # noqa: PLC0415  # cattrs is for those whose file is wrong

        document, problems = structure(raw)
    places, unplaced = check_executors(document.executors, here.parent) if document.executors else ({}, [])
    plugins, environments, more = check(document, here.parent, (*executors, *places))
    flows, flawed = check_flows(document.flows) if document.flows else ({}, [])
    store, unstored = check_store_url(document.store, here.parent)
    doors, unhung = check_doors(document.doors, here.parent, document.store, tenants=document.tenants is not None)
    auth, unproven = check_auth(document.auth, here.parent, tenants=document.tenants is not None)
    webhooks, unsigned = check_webhooks(document.webhooks, here.parent, document.tenants)
    deliveries, unsent = check_deliveries(document.deliveries, here.parent)
    if problems := [*problems, *more, *flawed, *unstored, *unhung, *unsigned, *unsent, *unproven, *unplaced]:
        raise KIND.error(file, problems, index_lines(text), lambda path: _plugin(path, raw))
    return Configuration(
        file=here,
        plugins={plugin.name: plugin for plugin in plugins},
        schedules={schedule.name: schedule for schedule in document.schedule},
        routes=document.routes,
        tenants=document.tenants,
        flows=flows,
        observability=document.observability,
        host=document.host,
        store=store,
        environments=environments,
        durable=document.durable,
        doors=doors,
        auth=auth,
        webhooks=webhooks,
        deliveries=deliveries,
        executors=places,
        discover=document.discover,
        timeout=document.timeout,
        strict=document.strict,
        lazy=document.lazy,
        lines=PluginLines(text, [plugin.name for plugin in plugins]),
        digest=hashlib.sha256(data).hexdigest(),
        content=data,
    )


def _plugin(path: KeyPath, raw: Mapping[str, Any]) -> str:
    match path:
        case ("plugin", int() as index, *_):
            table = raw["plugin"][index]
            name = table.get("name") if isinstance(table, dict) else None
            return name[:80] if isinstance(name, str) and name.isprintable() else ""
        case _:
            return ""


def _parse(text: str, file: Path) -> dict[str, Any]:
    try:
        raw = tomllib.loads(text)
    except RecursionError:
        raise _nested(file) from None
    except ValueError as error:  # TOMLDecodeError is one, and an integer of too many digits is another
        position = _POSITION.search(str(error))
        line = int(position[1]) if position and position[1] else text.rstrip("\n").count("\n") + 1 if position else None
        column = f" (column {position[2]})" if position and position[2] else ""
        reason = f"not valid TOML: {_POSITION.sub('', str(error))}{column}"
        raise KIND.wrong(file, reason, "correct this line or the one before", line=line, key="text") from None
    if not raw:
        raise KIND.wrong(file, "it declares nothing", "begin with a [[plugin]], or with discover = true")
    level, depth = [raw], 0
    while level := [child for item in level for child in _children(item)]:
        depth += 1
        if depth > _NESTING_LIMIT:
            raise _nested(file)
    return raw


def _children(value: Any) -> list[Any]:
    items = value.values() if isinstance(value, dict) else value
    return [item for item in items if isinstance(item, dict | list)]


def _nested(file: Path) -> ConfigError:
    return KIND.wrong(file, f"nested more than {_NESTING_LIMIT} levels deep", "flatten it", key="text")


def _believe(file: Path) -> None:
    """Refuse for root, and tell others, when somebody else may decide what the host does.

    Raises:
        ConfigError: for root, with the command that mends it.
    """
    trust = Trust()
    try:
        doubt = trust.doubt(str(file))
    except OSError as error:
        raise KIND.wrong(file, f"cannot be looked at: {error.strerror}", "give the path of a readable file") from None
    if doubt is not None and trust.strict:
        reason = f"others decide what is in it: {doubt.reason}"
        raise KIND.wrong(file, reason, f"{doubt.fix}; root believes only what it alone may write")
    if doubt is not None:
        fault = Fault("config", "", "file", f"others decide what is in {file}: {doubt.reason}", doubt.fix)
        host_log("WARNING", fault)
