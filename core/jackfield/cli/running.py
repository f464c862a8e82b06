"""What the verbs that speak to a running host share: reaching it, and saying why that failed."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from jackfield.cli.output import fail

if TYPE_CHECKING:
    from jackfield.errors import JackfieldError

Control: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        help="The host's control socket; by default $JACKFIELD_CONTROL, else this user's own host.", metavar="PATH"
    ),
]
AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Write JSON.")]
Plugin: TypeAlias = Annotated[str, typer.Argument(help="The plugin.", metavar="PLUGIN")]

_LOOK = 0.25  # seconds between two looks at what a host builds
_SHOWN = 200  # characters of a name

QUICK = 10.0  # seconds for what only looks; what waits for plugins is bounded by their own limits


def ask(control: Path | None, verb: str, *, within: float | None = None, **arguments: Any) -> Any:
    """Ask the running host for something and wait for its answer; end with exit code 1 when there is none.

    Args:
        control: the control socket, or None for the usual one.
        verb: what to do.
        within: seconds, or None for as long as it takes.
        **arguments: with what.

    Raises:
        typer.Exit: with what the host said, or that none runs.
    """
    from jackfield.control import ControlClient
    from jackfield.errors import JackfieldError

    try:
        return ControlClient(control, within).request(verb, **arguments)
    except JackfieldError as error:
        fail(told(error))


@contextmanager
def builds_shown(control: Path | None) -> Iterator[None]:
    """Say on stderr how far the environments come that the running host builds meanwhile."""
    import threading

    from jackfield.cli.output import say
    from jackfield.control import ControlClient
    from jackfield.errors import JackfieldError
    from jackfield.text import printable

    over = threading.Event()
    told: set[str] = set()

    def look() -> None:
        while not over.wait(_LOOK):
            try:
                builds = ControlClient(control, QUICK).request("status").get("building", ())
            except JackfieldError:  # whoever waits for the answer is told why
                return
            for line in map(building_line, builds):
                if line not in told and not over.is_set():
                    told.add(line)
                    say(printable(line))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(QUICK)


def building_line(build: dict[str, Any]) -> str:
    """Render how far an environment has come.

    Examples:
        >>> step = {"phase": "installing", "text": "8 distributions", "done": 3, "total": 6}
        >>> building_line({"plugin": "ocr", "requirement": "demo-ocr==2.0", **step})
        'ocr: environment of demo-ocr==2.0: installing: 8 distributions (step 4 of 6)'
    """
    what = f"{build['phase']}: {build['text']} (step {build['done'] + 1} of {build['total']})"
    return f"{build['plugin']}: environment of {build['requirement']}: {what}"


def follow(control: Path | None, verb: str, **arguments: Any) -> Iterator[Any]:
    """Ask the running host for something that goes on.

    Raises:
        typer.Exit: as for `ask`; also when the host goes away meanwhile.
    """
    from jackfield.control import ControlClient
    from jackfield.errors import JackfieldError

    try:
        with ControlClient(control, QUICK).stream(verb, **arguments) as items:
            yield from items
    except JackfieldError as error:
        fail(told(error))


def told(error: "JackfieldError") -> str:
    """Render what a host said went wrong: a fault of the host itself with its stack."""
    from jackfield.errors import FunctionCrashed, FunctionNotFound

    if isinstance(error, FunctionNotFound) and not (error.close or error.versions or error.fault):
        return f"the host has no function {error.function[:_SHOWN]!r}; `pluginctl route` shows those it has"
    if isinstance(error, FunctionCrashed) and error.function.startswith("control:"):
        return f"the host failed at {error.function}: {error.error_type}: {error.message}\n{error.remote_stack}".strip()
    return str(error)
