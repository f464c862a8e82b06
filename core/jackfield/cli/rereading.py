"""Reading the configuration file again while `pluginctl serve` runs: asked to by a signal, or because it changed."""

import os
from collections.abc import Callable, Collection
from concurrent.futures import Future
from pathlib import Path

from jackfield.config import Configuration, load_config
from jackfield.config.files import Stamp, stamp
from jackfield.errors import JackfieldError, Unavailable
from jackfield.host import Host
from jackfield.log import host_log
from jackfield.plugins.content import look
from jackfield.runtime.control import ControlLoop
from jackfield.runtime.pool import Pool
from jackfield.runtime.watching import watch

Seen = tuple[object, object]
"""What there was of a configuration file, and of the files and folders of its plugins: inodes, sizes and times."""


def read(file: Path, executors: Collection[str]) -> tuple[Configuration, Seen]:
    """Read a configuration file, and note what there was before anything is made of it.

    Args:
        file: the file.
        executors: the names that it may use.

    Raises:
        ConfigError: with every fault of the file.
    """
    before = _stamp(file)
    configuration = load_config(file, executors=executors)
    return configuration, (before, _plugins(configuration))


class Rereading:
    """Applies a host's file, and says what came of it.

    Args:
        host: the host; it runs.
        file: its configuration file.
        seen: what there was when the host was made of it.
        say: tells people.
    """

    def __init__(self, host: Host, file: Path, seen: Seen, say: Callable[[str], object]) -> None:
        self._host = host
        self._file = file
        self._seen = seen
        self._say = say

    def apply(self, why: str = "") -> Seen | None:
        """Read and apply the file. A faulty one changes nothing: it is told of, and the host serves on.

        Args:
            why: what is said first, as in `SIGHUP: `.

        Returns:
            What `look` would have given for what was applied; None when another apply is under way.
        """
        file = _stamp(self._file)
        try:
            configuration = self._host.read_configuration(self._file)
            seen = (file, _plugins(configuration))
            plan = self._host.apply(configuration)
        except Unavailable as error:
            self._tell(f"{why}nothing was applied: {error}")
            return None
        except JackfieldError as error:
            self._tell(f"{why}nothing was applied: {error}")
            return (file, self.look()[1])
        self._tell(f"{why}{plan}")
        return seen

    def _tell(self, text: str) -> None:
        try:
            self._say(text)
        except (OSError, ValueError):  # nobody can read it any more; what was done is done, and the log has it
            host_log("INFO", text)

    def watch(self, control: ControlLoop, pool: Pool, every: float = 1.0) -> "Future[None]":
        """Apply the file whenever it changes, or the file or folder of a plugin that it declares.

        Args:
            control: keeps the time.
            pool: where files are looked at and applied.
            every: seconds between two looks, each of which costs one `stat` a file.

        Returns:
            The watch, which lasts until it is cancelled.
        """
        return watch(control, pool, self._seen, self.look, lambda: self.apply("changed: "), every=every)

    def look(self) -> Seen:
        """Give what there is now."""
        return _stamp(self._file), _plugins(self._host.configuration)


def _stamp(file: Path) -> Stamp | None:
    try:
        return stamp(file.stat())
    except OSError:
        return None


def _plugins(configuration: Configuration | None) -> dict[str, object]:
    """Look at the files and folders of what is declared, and at the wheels that there are for requirements."""
    if configuration is None:
        return {}
    sources = {name: each.source for name, each in configuration.plugins.items()}
    seen: dict[str, object] = {
        name: look(source.target, source.kind) for name, source in sources.items() if source.kind in ("file", "folder")
    }
    if any(source.kind == "requirement" for source in sources.values()):
        seen[""] = [_wheels(link) for link in configuration.environments.find_links if "://" not in link]
    return seen


def _wheels(folder: str) -> dict[str, Stamp] | None:
    try:
        with os.scandir(folder) as entries:
            return {entry.name: stamp(entry.stat()) for entry in entries}
    except OSError:
        return None
