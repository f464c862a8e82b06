"""`pluginctl --host URL`: what a host elsewhere answers through its door, by a client that an adapter brings."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, Self

import typer

from jackfield.cli.output import fail

if TYPE_CHECKING:
    from jackfield.model.spec import FunctionSpec

VERBS: Final = ("list", "info", "call", "submit", "calls", "result", "cancel")
"""Those that a door answers; all others need the control socket of a host of this machine."""

_VALUES: Final = ("--host", "--key-file")
_FLAGS: Final = ("--insecure",)
_MOST_KEY: Final = 64 * 1024


class Elsewhere(NamedTuple):
    """Which host is asked.

    Attributes:
        url: of its door.
        key_file: where the key is, or None for `$JACKFIELD_KEY`.
        insecure: whether the key may go there without TLS beyond this machine.
    """

    url: str
    key_file: str | None
    insecure: bool


class Handle(Protocol):
    """A call that was submitted there."""

    id: str
    function: str

    @property
    def status(self) -> Any:
        """Where it is."""
        ...

    def result(self, timeout: float | None = None) -> Any:
        """Wait for its end."""
        ...

    def cancel(self) -> bool:
        """Cancel it."""
        ...


class Client(Protocol):
    """What `jackfield_contrib.client.Client` has of what verbs ask for."""

    def call(self, name: str, payload: Any = None, /, **options: Any) -> Any:
        """Call a function."""
        ...

    async def acall(self, name: str, payload: Any = None, /, **options: Any) -> Any:
        """Await a function's result."""
        ...

    def submit(self, name: str, payload: Any = None, /, **options: Any) -> Handle:
        """Have a call accepted."""
        ...

    def submitted(self, identifier: str, /) -> Handle:
        """Find a submitted call."""
        ...

    def submissions(self, function: str = "*", *, status: str | None = None) -> Iterator[dict[str, Any]]:
        """List submitted calls."""
        ...

    def functions(self) -> list[dict[str, Any]]:
        """List functions."""
        ...

    def describe(self, name: str) -> "FunctionSpec":
        """Give a contract."""
        ...

    def __enter__(self) -> Self:
        """Give it."""
        ...

    def __exit__(self, *error: object) -> None:
        """Close it."""
        ...


_asked: ContextVar[Elsewhere | None] = ContextVar("pluginctl_host", default=None)


def choose(url: str | None, key_file: str | None, *, insecure: bool, verb: str | None) -> None:
    """Note which host is asked, for the verb that comes next.

    Raises:
        typer.BadParameter: if the verb is none that a door answers.
    """
    if url is None:
        if key_file is not None or insecure:
            raise typer.BadParameter("--key-file and --insecure go with --host")
        _asked.set(None)
        return
    if verb is not None and verb not in VERBS:
        there = f"{', '.join(VERBS[:-1])} and {VERBS[-1]}"
        needs = "is for this machine, or needs a host's control socket (--control)"
        raise typer.BadParameter(f"--host: `{verb}` {needs}; a host elsewhere answers {there}")
    _asked.set(Elsewhere(url, key_file, insecure))


def hoisted(arguments: Sequence[str]) -> list[str]:
    """Put the options for a host elsewhere first, where they are declared, wherever they were typed.

    Examples:
        >>> hoisted(["call", "text.shout", "text=a", "--host", "http://127.0.0.1:8080"])
        ['--host', 'http://127.0.0.1:8080', 'call', 'text.shout', 'text=a']
    """
    first: list[str] = []
    rest: list[str] = []
    words = iter(arguments)
    for word in words:
        if word == "--":
            return [*first, *rest, word, *words]
        if word in _VALUES:
            first += [word, *([value] if (value := next(words, None)) is not None else [])]
        elif word in _FLAGS or word.startswith(tuple(f"{name}=" for name in _VALUES)):
            first.append(word)
        else:
            rest.append(word)
    return [*first, *rest]


def is_asked(*, control: Path | None = None, tenant: str | None = None) -> bool:
    """Tell whether a host elsewhere is asked.

    Raises:
        typer.BadParameter: if it is, and an option says what it cannot be asked.
    """
    if _asked.get() is None:
        return False
    if control is not None:
        raise typer.BadParameter("--control is a host of this machine, and --host one elsewhere: give one of them")
    if tenant is not None:
        raise typer.BadParameter("--tenant: whom a call to a host elsewhere is for its key says")
    return True


@contextmanager
def client() -> Iterator[Client]:
    """Give a client of the host that is asked; end with exit code 1 when it says that something went wrong.

    Raises:
        typer.Exit: with what went wrong.
        typer.BadParameter: if there can be no such client.
    """
    from jackfield.cli.running import told
    from jackfield.errors import JackfieldError, PermissionDenied

    said = _asked.get()
    assert said is not None  # noqa: S101  # who asks has looked
    make, key = _adapter(), _key(said)
    try:
        made = make(said.url, key=key, insecure=said.insecure)
    except ValueError as error:
        raise typer.BadParameter(f"--host: {error}") from None
    try:
        with made as opened:
            yield opened
    except PermissionDenied as error:
        fail(told(error) if key else f"{told(error)}; $JACKFIELD_KEY is the key, or --key-file names its file")
    except JackfieldError as error:
        fail(told(error))
    except LookupError as error:
        fail(str(error.args[0]) if error.args else "it is not there")


def payload_of(there: Client, name: str, typed: Mapping[str, str], document: tuple[Any] | None) -> Any:
    """Make a payload of what was typed, by the contract there.

    Raises:
        BadInput: if it is none.
    """
    from jackfield.cli.payload import build

    if document is not None:
        return document[0]
    return build(there.describe(name), typed) if typed else None


def described(spec: "FunctionSpec") -> dict[str, Any]:
    """Give what is known of a function elsewhere, as `info --contract` shows one that is here."""
    import attrs

    from jackfield.contract.payload import payload_schema, result_schema
    from jackfield.wire.signature import shown_parameters, shown_result, untyped_result

    return {
        "summary": spec.summary,
        "colour": "",
        "parameters": list(shown_parameters(spec)),
        "fields": [],
        "result": shown_result(spec),
        "untyped": untyped_result(spec),
        "dependencies": [],
        "policy": attrs.asdict(spec.policy),
        "notes": [],
        "payload_schema": payload_schema(spec),
        "result_schema": result_schema(spec),
    }


def _adapter() -> Callable[..., Client]:
    from jackfield.config.adapters import load_adapter
    from jackfield.errors import Unavailable

    made: Callable[..., Client]
    try:
        made = load_adapter("client:http", "the client", "pip install 'jackfield-contrib[client]'")
    except Unavailable as error:
        fail(f"--host needs a client: {error.reason}")
    return made


def _key(said: Elsewhere) -> str | None:
    if said.key_file is None:
        return os.environ.get("JACKFIELD_KEY") or None
    try:
        with Path(said.key_file).open(encoding="utf-8") as file:
            return file.read(_MOST_KEY).strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise typer.BadParameter(f"--key-file {said.key_file}: {reason}") from None
