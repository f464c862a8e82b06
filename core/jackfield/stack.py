"""What an error says of itself without saying any value: its type and its frames, jackfield's own cut out.

The message of an exception is a stranger's text, and may quote what must not be read by everybody: a payload, a
password in an address. Two may read it: who gets the exception itself raised, and the operator in the log, where
`Logs(messages=True)` asks for it. Everything else (faults, records, status, events, dumps, the log without that) says
`blamed(error)`.
"""

import opcode
import os
import re
from collections.abc import Iterator
from types import CodeType, TracebackType
from typing import Any, Final
from weakref import WeakSet

from jackfield import errors
from jackfield.errors import FunctionCrashed, JackfieldError, Outcome, Rejected
from jackfield.text import printable

_OWN_FOLDER = os.path.dirname(__file__) + os.sep  # noqa: PTH120  # as written in `co_filename`, unresolved
_GENERATED = "<jackfield"
# The name that a plugin's file has in `sys.modules`: see `jackfield.plugins.loading`. Nobody but Python knows it.
_PRIVATE = re.compile(r"_jackfield_plugin_(\w+?)_[0-9a-f]{12}(?:_\d+)?(?=\.|$)")
_FRAME_LIMIT = 60  # of one exception; endless recursion has a thousand, and only its two ends say anything
_CHAIN_LIMIT = 16
_MESSAGE_LIMIT = 4_000
_RAISE = opcode.opmap["RAISE_VARARGS"]
_SHOWN = 300  # characters of a message within a sentence
_CANNOT = re.compile(
    r"cannot import name '\w+' from (?:partially initialized module )?'(?P<name>[\w.]+)'"
    r"(?: \(most likely due to a circular import\))? \((?P<path>.*)\)"
)

# What an error is, and where it came from, by what Python itself keeps: its class may have properties of these names,
# a `__class__` that lies and a metaclass, all of which are a stranger's code, run while a call is being ended.
traceback_of: Final[Any] = vars(BaseException)["__traceback__"].__get__
set_traceback: Final[Any] = vars(BaseException)["__traceback__"].__set__
_cause_of: Final[Any] = vars(BaseException)["__cause__"].__get__
_context_of: Final[Any] = vars(BaseException)["__context__"].__get__
_suppressed_of: Final[Any] = vars(BaseException)["__suppress_context__"].__get__
_members_of: Final[Any] = vars(BaseExceptionGroup)["exceptions"].__get__
_module_of: Final[Any] = vars(type)["__module__"].__get__
_name_of: Final[Any] = vars(type)["__qualname__"].__get__
_bases_of: Final[Any] = vars(type)["__mro__"].__get__
_OUTCOMES: Final = {
    id(kind): kind.outcome
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, JackfieldError)
}

_at_the_desk = False
_INTERPRETERS = frozenset(  # whole sentences: nothing of anybody else's is in them
    {
        "signal only works in main thread of the main interpreter",
        "set_wakeup_fd only works in main thread of the main interpreter",
        "maximum recursion depth exceeded",
        "division by zero",
        "I/O operation on closed file",
        "source code string cannot contain null bytes",
    }
)
_WORDED = (TypeError, ValueError, RuntimeError, ImportError, ModuleNotFoundError)
_askers: "WeakSet[object]" = WeakSet()


def show_messages_here() -> None:
    """Have faults show what exceptions say, from now on, in this process.

    For verbs that load plugins in a process of their own for whoever typed them, and report to that terminal alone
    (`pluginctl check`, `call`): their reader could run the plugin under a debugger. Never for a host that serves.
    """
    global _at_the_desk  # noqa: PLW0603  # of the whole process, once
    _at_the_desk = True


def log_messages_for(asker: object, *, wanted: bool) -> None:
    """Have the log say what exceptions say, as long as a host whose observers want that runs; or not any more."""
    (_askers.add if wanted else _askers.discard)(asker)


def messages_are_logged() -> bool:
    """Tell whether the log is to say what exceptions say."""
    return bool(_askers)


def logged(error: BaseException) -> str:
    """Say what went wrong for the operator's log: as `blamed`, and with the message where that is asked for."""
    return _sentence(error, error_message(error) if _at_the_desk or _askers else facts(error))


def blamed(error: BaseException) -> str:
    """Say what went wrong in one line that everybody may read: type and place, and no text that a stranger wrote.

    Args:
        error: any exception. What jackfield's own code raised says itself what is wrong.

    Returns:
        As in `ValueError at /srv/risk.py:7 connect`, or `ConnectionRefusedError: Connection refused at …`.

    Examples:
        >>> blamed(ConnectionRefusedError(111, "no way to db://me:secret@host"))
        'ConnectionRefusedError: Connection refused'
        >>> blamed(ValueError("secret"))
        'ValueError'
    """
    return _sentence(error, spoken(error))


def spoken(error: BaseException) -> str:
    """Give what of an error's message everybody may read: `facts`; in a process of the reader's own, all of it."""
    if not _at_the_desk:
        return facts(error)
    return str(error.msg) if isinstance(error, SyntaxError) else error_message(error)


def _sentence(error: BaseException, text: str) -> str:
    if ours(error):
        return printable(error_message(error))
    where = origin(error)
    shown = printable(text[:_SHOWN]) + "…" * (len(text) > _SHOWN)
    return f"{error_type(error)}{f': {shown}' if shown else ''}{f' at {where}' if where else ''}"


def ours(error: BaseException) -> bool:
    """Tell whether an error's whole text is jackfield's own: an error of its, raised by its own code."""
    kind = type(error)
    return issubclass(kind, JackfieldError) and not issubclass(kind, FunctionCrashed | Rejected) and raised_here(error)


def raised_here(error: BaseException) -> bool:
    """Tell whether jackfield's own code raised an error, or a library in C that it called; no Python of strangers."""
    last = _innermost(error)
    return last is None or is_own(last.tb_frame.f_code)


def _worded_here(error: BaseException) -> bool:
    """Tell whether a `raise` statement of jackfield's own raised an error: then the text is its own as well."""
    last = _innermost(error)
    if last is None or not is_own(last.tb_frame.f_code) or last.tb_lasti < 0:
        return False
    return last.tb_frame.f_code.co_code[last.tb_lasti] == _RAISE


def _innermost(error: BaseException) -> TracebackType | None:
    last: TracebackType | None = traceback_of(error)
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    return last


def facts(error: BaseException) -> str:
    """Give what the system or the interpreter itself says is wrong; "" when it is not they who say it.

    Examples:
        >>> facts(ModuleNotFoundError("No module named 'yaml'", name="yaml")), facts(ModuleNotFoundError("secret"))
        ("No module named 'yaml'", '')
    """
    try:
        return _facts(error)
    except BaseException:  # noqa: BLE001  # a field of a stranger's class may be a property, which raises anything
        return ""


def _facts(error: BaseException) -> str:  # noqa: PLR0911  # one for each kind of sentence
    kind, said = type(error), error_message(error)
    if said in _INTERPRETERS or (kind in _WORDED and _worded_here(error)):
        return said
    if kind is SystemExit:
        return str(error.code) if isinstance(error.code, int) else ""  # type: ignore[attr-defined]  # it is one
    if isinstance(error, OSError):
        return os.strerror(error.errno) if isinstance(error.errno, int) else ""
    if kind in (SyntaxError, IndentationError, TabError):
        return str(error.msg) if error.filename else ""  # type: ignore[attr-defined]  # of these three
    name = getattr(error, "name", None)
    if not isinstance(name, str) or kind not in (ModuleNotFoundError, ImportError, NameError):
        return ""
    plain = (
        f"No module named {name!r}",
        f"import of {name} halted; None in sys.modules",
        f"name {name!r} is not defined",
    )
    if said in plain or said.startswith(f"No module named {name!r}; "):
        return said if said in plain else plain[0]
    found = _CANNOT.fullmatch(said)
    if kind is ImportError and found is not None and found["name"] == name:
        return said if found["path"] in ("unknown location", getattr(error, "path", None)) else ""
    return ""


def error_type(error: BaseException) -> str:
    """Name the class of what went wrong: for a crash, of the function's own exception.

    Args:
        error: what the caller gets raised.

    Returns:
        The qualified name, without `builtins`; jackfield's errors under their public name, those of a plugin's file
        under the plugin's, which is the same after a reload.

    Examples:
        >>> error_type(FunctionCrashed("risk.score", "ValueError"))
        'ValueError'
        >>> from jackfield.errors import Rejected
        >>> error_type(Rejected("no"))
        'jackfield.Rejected'
    """
    kind = type(error)
    if issubclass(kind, FunctionCrashed):
        return str(error.error_type)  # type: ignore[attr-defined]  # it is one
    return public_name(kind)


def public_name(kind: type) -> str:
    """Name a class as everybody knows it: qualified, without `builtins`, the same in every process.

    Args:
        kind: the class; jackfield's errors have their public name, and those of a plugin's file the plugin's.

    Examples:
        >>> public_name(ValueError), public_name(FunctionCrashed)
        ('ValueError', 'jackfield.FunctionCrashed')
    """
    module, name = _module_of(kind), _name_of(kind)
    if type(module) is not str or module == "builtins":
        return printable(name)
    if module == JackfieldError.__module__:
        return f"jackfield.{name}"
    public = _PRIVATE.sub(r"\1", module)
    return printable(f"{public}.{name}")


def outcome_of(error: BaseException) -> Outcome:
    """Give the outcome that a call with this error has: that of the class of jackfield's that it is or derives from.

    Args:
        error: what the caller gets raised; whatever is none of jackfield's is a cancellation.

    Examples:
        >>> outcome_of(Rejected("no")), outcome_of(KeyboardInterrupt())
        (<Outcome.REJECTED: 'rejected'>, <Outcome.CANCELLED: 'cancelled'>)
    """
    found = (outcome for base in _bases_of(type(error)) if (outcome := _OUTCOMES.get(id(base))) is not None)
    return next(found, Outcome.CANCELLED)


def error_message(error: BaseException) -> str:
    """Give the error's own text, which may hold values of the payload: only for those who asked for it.

    Args:
        error: what the caller gets raised; of a crash the original's text is given.

    Returns:
        At most 4,000 characters; a note when the error cannot be rendered.
    """
    try:
        said: Any = vars(error)["message"] if issubclass(type(error), FunctionCrashed) else str(error)
        text = str.__str__(said)
    except BaseException as broken:  # noqa: BLE001  # a plugin's `__str__` may raise anything
        return f"(the message cannot be shown: {error_type(broken)})"
    return text if len(text) <= _MESSAGE_LIMIT else text[:_MESSAGE_LIMIT] + "…"


def is_closing(error: BaseException) -> bool:
    """Tell whether the coroutine that handles an error is being closed, and nothing may be awaited any more.

    Whoever closes a coroutine has Python close what that waits for first, and raise a `GeneratorExit` of its own at the
    very `await`. One that somebody's code has raised has the frames of that code as well, and is an error as any other.

    Args:
        error: what the coroutine has caught itself.
    """
    if not issubclass(type(error), GeneratorExit):
        return False
    here: TracebackType | None = traceback_of(error)
    return here is None or here.tb_next is None


def frames(error: BaseException) -> list[str]:
    """List the frames of an error as `file:line function`, outermost first, and those of the errors that caused it.

    Frames of jackfield itself are left out, and values never appear: neither variables nor messages. It walks the
    traceback by itself, since `traceback.format_exception` reads source files and takes fifty times as long.

    Args:
        error: the error; of a `FunctionCrashed` the original is shown, or the stack that came from another process.

    Returns:
        One entry a frame; `caused by KeyError` or `while handling KeyError` starts the frames of an earlier error.
    """
    if issubclass(type(error), FunctionCrashed):
        if _cause_of(error) is None:
            return list(error.remote_stack.splitlines())  # type: ignore[attr-defined]  # it is one
        error = _cause_of(error)
    lines: list[str] = []
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen and len(seen) < _CHAIN_LIMIT:
        seen.add(id(link))
        lines += _shortened(_walk(traceback_of(link)))
        if issubclass(type(link), BaseExceptionGroup):
            for number, member in enumerate(_members_of(link)[:_CHAIN_LIMIT], 1):
                lines.append(f"member {number} is {error_type(member)}")
                lines += _shortened(_walk(traceback_of(member)))
        if (cause := _cause_of(link)) is not None:
            following, how = cause, "caused by"
        elif (context := _context_of(link)) is not None and not _suppressed_of(link):
            following, how = context, "while handling"
        else:
            break
        lines.append(f"{how} {error_type(following)}")
        link = following
    return lines


def origin(error: BaseException) -> str:
    """Give the innermost frame of an error itself that is not jackfield's, as `file:line function`; or ""."""
    lines = frames(error)
    ends = (at for at, line in enumerate(lines) if line.startswith(("caused by ", "while handling ", "member ")))
    own = lines[: next(ends, len(lines))]
    return own[-1] if own else ""


def _walk(traceback: TracebackType | None) -> Iterator[str]:
    while traceback is not None:
        code = traceback.tb_frame.f_code
        if not is_own(code):
            yield printable(f"{code.co_filename}:{traceback.tb_lineno} {code.co_qualname}")
        traceback = traceback.tb_next


def is_own(code: CodeType) -> bool:
    """Tell whether code is jackfield's own, generated walks included."""
    return code.co_filename.startswith((_OWN_FOLDER, _GENERATED))


def _shortened(walk: Iterator[str]) -> list[str]:
    lines = list(walk)
    if len(lines) <= _FRAME_LIMIT:
        return lines
    half = _FRAME_LIMIT // 2
    return [*lines[:half], f"({len(lines) - 2 * half} frames left out)", *lines[-half:]]
