"""What runs in the child process of `check`, `graph` and `info --contract`: it imports plugins and says so before.

It speaks in JSON lines on its stdout, which no plugin can write to: each module and entry is announced before it is
touched, so that the parent knows the culprit when this process ends, crashes or hangs.
"""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal

import attrs
import msgspec

from jackfield.cli.output import claim_stdout
from jackfield.errors import Fault, JackfieldError, PluginError
from jackfield.stack import show_messages_here
from jackfield.strangers import Broken, barrier

if TYPE_CHECKING:
    from jackfield.cli.files import Given
    from jackfield.model.spec import FunctionSpec


class Job(msgspec.Struct, frozen=True):
    """What the child is to do.

    Attributes:
        kind: `check`, `graph` or `info`.
        names: the functions or plugins concerned; none means all.
        file: concerned instead of what is installed, as it was given.
        style: of the drawing.
        blocked: modules that must not be imported, since an earlier child did not survive it.
    """

    kind: Literal["check", "graph", "info"]
    names: tuple[str, ...] = ()
    file: str = ""
    style: str = ""
    blocked: tuple[str, ...] = ()


class Touching(msgspec.Struct, frozen=True, tag=True):
    """A module is about to be imported, or an entry looked at; both empty for the work after that.

    Attributes:
        module: the module.
        entry: the entry it is for.
    """

    module: str = ""
    entry: str = ""


class Faulty(msgspec.Struct, frozen=True, tag=True):
    """A fault that was found on the way, in case the end is never reached.

    Attributes:
        fault: the fault.
    """

    fault: Fault


class Finished(msgspec.Struct, frozen=True, tag=True):
    """The job is done.

    Attributes:
        result: plain data; its keys depend on the job.
        faults: all that were found.
    """

    result: dict[str, Any]
    faults: tuple[Fault, ...] = ()


_NOTHING: dict[str, Any] = {"functions": [], "notes": []}

Message = Touching | Faulty | Finished
Tell = Callable[[Message], None]


def main() -> None:
    """Do the job that stands in stdin, and end this process at once: threads that plugins started do not keep it."""
    from loguru import logger

    logger.disable("jackfield")  # the report has what the host would log
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # nobody sits here: a KeyboardInterrupt is a plugin's own
    show_messages_here()
    channel = claim_stdout()

    def tell(message: Message) -> None:
        channel.write(msgspec.json.encode(message) + b"\n")
        channel.flush()

    job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    # Python's own way to forbid an import: whatever needs such a module gets an ImportError.
    sys.modules.update(dict.fromkeys(job.blocked))  # type: ignore[arg-type]
    tell({"check": _check, "graph": _graph, "info": _info}[job.kind](job, tell))
    os._exit(0)


def _check(job: Job, tell: Tell) -> Finished:
    from jackfield.cli.files import given

    if (file := given(job.file)) is not None:
        return _check_file(file, job.file, tell)
    from jackfield.host import Host
    from jackfield.plugins.discovery import FUNCTIONS

    catalogue = _catalogue()
    wanted = {one.name: one for one in catalogue.group(FUNCTIONS) if concerns(job.names, one.name, one.plugin)}
    for candidate in catalogue.candidates:
        if candidate.group != FUNCTIONS or candidate.name in wanted:
            _touch(candidate, tell)
    tell(Touching())
    host = Host.discover(lazy=bool(job.names), strict=False, observers=())
    if job.names:
        for name in wanted:
            _load(host, name)
    specs = [host.describe(name) for name in host.declared()[0] if name in wanted]
    return Finished(
        {
            "functions": sorted(spec.name for spec in specs),
            "notes": [
                {"function": spec.name, "plugin": spec.plugin, "note": note} for spec in specs for note in spec.notes
            ],
        },
        tuple(fault for fault in host.faults if concerns(job.names, fault.entry, fault.plugin)),
    )


def _check_file(file: "Given", text: str, tell: Tell) -> Finished:
    """Import a file, and register what can be called of it, or the one function that was named."""
    from jackfield.cli.files import callables, open_file, register

    tell(Touching(file.module, text))
    try:
        opened = open_file(file)
    except JackfieldError as error:
        return Finished(_NOTHING, error.faults)
    tell(Touching())
    if opened.module is None:
        return Finished(_NOTHING, tuple(attrs.evolve(fault, entry=text, plugin="") for fault in opened.faults))
    faults, functions, notes = list(opened.faults), [], []
    with opened.host:  # what is to be injected is only checked then; of what is installed nothing starts
        for attribute in [file.attribute] if file.attribute else callables(opened.module):
            entry = f"{file.shown}:{attribute}"
            try:
                spec = opened.host.describe(register(file, opened.host, opened.module, attribute))
            except JackfieldError as error:
                faults += [attrs.evolve(fault, entry=entry, plugin="") for fault in error.faults]
            else:
                functions.append(entry)
                notes += [{"function": entry, "plugin": "", "note": note} for note in spec.notes]
    return Finished({"functions": functions, "notes": notes}, tuple(faults))


def _graph(job: Job, tell: Tell) -> Finished:
    """Draw from what could be loaded, not from a host: a host leaves out what is missing, a drawing should show it."""
    from jackfield.calls.dispatch import Caller
    from jackfield.config import PluginConfig
    from jackfield.events import EventBus
    from jackfield.injection import drawing, graph
    from jackfield.model.options import Config
    from jackfield.observe.logger import Logger
    from jackfield.plugins.discovery import FUNCTIONS, PROVIDERS
    from jackfield.plugins.loading import load_bundle

    catalogue = _catalogue()
    for candidate in catalogue.candidates:
        if candidate.group in {FUNCTIONS, PROVIDERS}:
            _touch(candidate, tell)
    tell(Touching())
    names = dict.fromkeys(one.plugin for one in catalogue.candidates)
    bundles = [load_bundle(PluginConfig(name, name), catalogue) for name in names]
    whole = graph.Graph(tuple(one for each in bundles for one in each.providers), {Caller, Config, EventBus, Logger})
    draw = drawing.dot if job.style == "dot" else drawing.mermaid
    functions = [spec for each in bundles for spec in each.specs]
    return Finished({"drawing": draw(whole, functions)}, tuple(fault for each in bundles for fault in each.faults))


def _info(job: Job, tell: Tell) -> Finished:
    from jackfield.cli.files import as_given, given
    from jackfield.contract.payload import payload_schema, result_schema
    from jackfield.wire.signature import shown_dependencies, shown_parameters, shown_result, untyped_result

    file = given(job.file)
    try:
        with barrier("describing it"):
            spec = _installed_spec(job.names[0], tell) if file is None else _spec_of_file(file, job.file, tell)
            shown = {
                "summary": spec.summary,
                "colour": spec.colour.value,
                "parameters": list(shown_parameters(spec)),
                "fields": _fields(spec),
                "result": shown_result(spec),
                "untyped": untyped_result(spec),
                "dependencies": list(shown_dependencies(spec)),
                "policy": attrs.asdict(spec.policy),
                "notes": list(spec.notes),
                "payload_schema": payload_schema(spec),
                "result_schema": result_schema(spec),
            }
    except JackfieldError as error:
        return Finished({}, (error if file is None else as_given(file, error)).faults)
    except Broken as broken:
        entry = job.file or job.names[0]
        return Finished({}, (Fault("contract", "", entry, broken.reason, "correct it, or leave it out"),))
    return Finished(shown)


def _fields(spec: "FunctionSpec") -> list[str]:
    """Show the fields of the record that a function of one parameter takes: they are the keys that callers give."""
    from jackfield.contract.shapes import record, render

    found = record(spec.parameters[0].annotation) if spec.shape == "one" else None
    fields = () if found is None else found.fields
    return [f"{one.name}: {render(one.type)}{'' if one.required else ' (optional)'}" for one in fields]


def _installed_spec(name: str, tell: Tell) -> "FunctionSpec":
    from jackfield.plugins.loading import load_function

    candidate = _catalogue().find(name)
    if candidate is None:
        raise LookupError(name)
    _touch(candidate, tell)
    return load_function(candidate)


def _spec_of_file(file: "Given", text: str, tell: Tell) -> "FunctionSpec":
    from jackfield.cli.files import open_file, register

    tell(Touching(file.module, text))
    opened = open_file(file)
    tell(Touching())
    if opened.module is None:
        first = opened.faults[0]
        raise PluginError(file.plugin, first.stage, first.reason, first.fix, opened.faults)
    return opened.host.describe(register(file, opened.host, opened.module, file.attribute))


def _catalogue() -> Any:
    from jackfield.cli.entries import read_catalogue

    return read_catalogue()


def concerns(names: tuple[str, ...], entry: str, plugin: str) -> bool:
    """Whether an entry is among the functions and plugins that were asked for; all are if none were.

    Examples:
        >>> concerns((), "text.slugify", "text"), concerns(("Text",), "text.slugify", "text"), concerns(("a",), "b", "")
        (True, True, False)
    """
    from jackfield.plugins.discovery.entries import canonical

    return not names or entry.partition("@")[0] in names or canonical(plugin) in map(canonical, names)


def packages(module: str) -> Iterator[str]:
    """Give a module and all packages around it, outermost first.

    Examples:
        >>> list(packages("a.b.c"))
        ['a', 'a.b', 'a.b.c']
    """
    parts = module.split(".")
    for end in range(1, len(parts) + 1):
        yield ".".join(parts[:end])


def _touch(candidate: Any, tell: Tell) -> None:
    """Import an entry package by package, and check it alone."""
    from jackfield.injection.providers import describe
    from jackfield.plugins.discovery import FUNCTIONS, PROVIDERS, load
    from jackfield.plugins.loading import load_function

    module = candidate.value.partition(":")[0].strip()
    try:
        with barrier():
            for name in packages(module):
                tell(Touching(name, candidate.name))
                load(attrs.evolve(candidate, value=name))
            tell(Touching(module, candidate.name))
            if candidate.group == FUNCTIONS:
                load_function(candidate)
            elif candidate.group == PROVIDERS:
                describe(load(candidate), plugin=candidate.plugin)
            else:
                load(candidate)
    except JackfieldError as error:
        for fault in error.faults:
            tell(Faulty(fault))
    except Broken as broken:
        tell(Faulty(_fault(candidate, broken)))


def _fault(candidate: Any, broken: Broken) -> Fault:
    return Fault("contract", candidate.plugin, candidate.name, broken.reason, "correct it, or leave it out")


def _load(host: Any, name: str) -> None:
    from contextlib import suppress

    with suppress(JackfieldError):  # it stands in `host.faults`
        host.function(name, Any, Any)
