"""The progress of a call on a terminal: a bar for each function that reports, gone when the call has ended."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from jackfield.model.progress import Latest, Progress, StepProgress, listening
from jackfield.text import printable

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

_PACE: Final = 0.1  # seconds between two looks
_MOST: Final = 8  # bars
_WIDE: Final = 60  # characters of what is said


@contextmanager
def progress_bar() -> Iterator[None]:
    """Show how far the calls within have come, on stderr, if that is a terminal; nothing until one reports."""
    if not sys.stderr.isatty():
        yield
        return
    news, over = threading.Event(), threading.Event()
    latest = Latest(news.set)
    drawing = threading.Thread(target=_draw, args=(latest, news, over), name="pluginctl-progress", daemon=True)
    drawing.start()
    token = listening.set(latest)
    try:
        yield
    finally:
        listening.reset(token)
        over.set()
        news.set()
        drawing.join()


def _draw(latest: Latest, news: threading.Event, over: threading.Event) -> None:
    news.wait()
    if over.is_set():
        return
    from rich.console import Console  # a tenth of a second, for functions that report
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks: dict[tuple[str, ...], TaskID] = {}
        while not over.is_set():
            for said in latest.take():
                _show(bars, tasks, said)
            over.wait(_PACE)


def _show(bars: "Bars", tasks: "dict[tuple[str, ...], TaskID]", said: Progress | StepProgress) -> None:
    if said.key not in tasks:
        if len(tasks) >= _MOST:
            return
        tasks[said.key] = bars.add_task("", total=None)
    if isinstance(said, Progress):
        words = f"{said.function} {said.text}".strip()
        done, total = said.done, said.total
    else:
        words = f"{said.flow}: {said.step} {said.state}"
        done, total = (said.items, None) if said.state == "running" else (1, 1)
    bars.update(tasks[said.key], description=printable(words)[:_WIDE], completed=done, total=total)
