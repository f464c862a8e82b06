"""What an error says of itself without saying any value: its type and its frames, jackfield's own cut out."""

import os
import re
from collections.abc import Iterator
from types import CodeType, TracebackType

from jackfield.errors import FunctionCrashed, JackfieldError

_OWN_FOLDER = os.path.dirname(__file__) + os.sep  # noqa: PTH120  # as written in `co_filename`, unresolved
_GENERATED = "<jackfield"
# The name that a plugin's file has in `sys.modules`: see `jackfield.plugins.loading`. Nobody but Python knows it.
_PRIVATE = re.compile(r"_jackfield_plugin_(\w+?)_[0-9a-f]{12}(?:_\d+)?(?=\.|$)")
_FRAME_LIMIT = 60  # of one exception; endless recursion has a thousand, and only its two ends say anything
_CHAIN_LIMIT = 16
_MESSAGE_LIMIT = 4_000


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
    if isinstance(error, FunctionCrashed):
        return error.error_type
    kind = type(error)
    if kind.__module__ == "builtins":
        return kind.__qualname__
    if kind.__module__ == JackfieldError.__module__:
        return f"jackfield.{kind.__qualname__}"
    module = _PRIVATE.sub(r"\1", str(kind.__module__))
    return f"{module}.{kind.__qualname__}"


def error_message(error: BaseException) -> str:
    """Give the error's own text, which may hold values of the payload: only for those who asked for it.

    Args:
        error: what the caller gets raised; of a crash the original's text is given.

    Returns:
        At most 4,000 characters; a note when the error cannot be rendered.
    """
    try:
        text = error.message if isinstance(error, FunctionCrashed) else str(error)
    except Exception as broken:  # noqa: BLE001  # a plugin's `__str__` may raise anything
        return f"(the message cannot be shown: {type(broken).__name__})"
    return text if len(text) <= _MESSAGE_LIMIT else text[:_MESSAGE_LIMIT] + "…"


def frames(error: BaseException) -> list[str]:
    """List the frames of an error as `file:line function`, outermost first, and those of the errors that caused it.

    Frames of jackfield itself are left out, and values never appear: neither variables nor messages. It walks the
    traceback by itself, since `traceback.format_exception` reads source files and takes fifty times as long.

    Args:
        error: the error; of a `FunctionCrashed` the original is shown, or the stack that came from another process.

    Returns:
        One entry a frame; `caused by KeyError` or `while handling KeyError` starts the frames of an earlier error.
    """
    if isinstance(error, FunctionCrashed):
        if error.__cause__ is None:
            return error.remote_stack.splitlines()
        error = error.__cause__
    lines: list[str] = []
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen and len(seen) < _CHAIN_LIMIT:
        seen.add(id(link))
        lines += _shortened(_walk(link.__traceback__))
        if isinstance(link, BaseExceptionGroup):
            for number, member in enumerate(link.exceptions[:_CHAIN_LIMIT], 1):
                lines.append(f"member {number} is {error_type(member)}")
                lines += _shortened(_walk(member.__traceback__))
        if link.__cause__ is not None:
            link, how = link.__cause__, "caused by"
        elif link.__context__ is not None and not link.__suppress_context__:
            link, how = link.__context__, "while handling"
        else:
            break
        lines.append(f"{how} {error_type(link)}")
    return lines


def _walk(traceback: TracebackType | None) -> Iterator[str]:
    while traceback is not None:
        code = traceback.tb_frame.f_code
        if not _own(code):
            yield f"{code.co_filename}:{traceback.tb_lineno} {code.co_qualname}"
        traceback = traceback.tb_next


def _own(code: CodeType) -> bool:
    return code.co_filename.startswith((_OWN_FOLDER, _GENERATED))


def _shortened(walk: Iterator[str]) -> list[str]:
    lines = list(walk)
    if len(lines) <= _FRAME_LIMIT:
        return lines
    half = _FRAME_LIMIT // 2
    return [*lines[:half], f"({len(lines) - 2 * half} frames left out)", *lines[-half:]]
