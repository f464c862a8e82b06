"""What `importlib.resources` gives for a plugin's folder: the files as they were when it was loaded."""

import io
from collections.abc import Iterator, Mapping
from importlib.resources.abc import Traversable, TraversableResources
from typing import IO, Any


class Resources(TraversableResources):
    """The resources of one package.

    Args:
        files: relative name → bytes.
        folder: the package's place in them, "" for the whole.
    """

    def __init__(self, files: Mapping[str, bytes], folder: str) -> None:
        self._root = Resource(files, folder)

    def files(self) -> "Resource":
        """Give the package's folder."""
        return self._root


class Resource(Traversable):
    """A file or folder in memory; never changes, so any thread may read it.

    Args:
        files: relative name → bytes.
        path: the name of a file, or what the names in a folder begin with, without the last `/`.

    Examples:
        >>> folder = Resource({"sql/find.sql": b"select 1", "main.py": b""}, "")
        >>> [entry.name for entry in folder.iterdir()], (folder / "sql" / "find.sql").read_text()
        (['main.py', 'sql'], 'select 1')
    """

    def __init__(self, files: Mapping[str, bytes], path: str) -> None:
        self._files, self._path = files, path

    @property
    def name(self) -> str:
        """The last part of the name."""
        return self._path.rpartition("/")[2]

    def _inside(self) -> str:
        return f"{self._path}/" if self._path else ""

    def is_file(self) -> bool:
        """Tell whether it is a file."""
        return self._path in self._files

    def is_dir(self) -> bool:
        """Tell whether it is a folder that has files."""
        return not self._path or any(name.startswith(self._inside()) for name in self._files)

    def iterdir(self) -> Iterator["Resource"]:
        """Walk what is in the folder, sorted by name.

        Raises:
            NotADirectoryError: if it is no folder.
        """
        if not self.is_dir():
            raise NotADirectoryError(self._path)
        prefix = self._inside()
        names = {name[len(prefix) :].partition("/")[0] for name in self._files if name.startswith(prefix)}
        return (Resource(self._files, prefix + name) for name in sorted(names))

    def joinpath(self, *descendants: Any) -> "Resource":
        """Go down; what is not there is neither file nor folder."""
        parts = [part for one in (self._path, *map(str, descendants)) for part in one.split("/") if part]
        return Resource(self._files, "/".join(part for part in parts if part != "."))

    def __truediv__(self, child: Any) -> "Resource":
        return self.joinpath(child)

    def open(self, mode: Any = "r", *args: Any, **kwargs: Any) -> IO[Any]:
        """Open the file for reading: `r` as text (with `encoding` and the like), `rb` as bytes.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: for any other mode.
        """
        if mode not in ("r", "rb"):
            raise ValueError(f"a plugin's file is opened with 'r' or 'rb', not {mode!r}")
        stream = io.BytesIO(self.read_bytes())
        return stream if mode == "rb" else io.TextIOWrapper(stream, *args, **kwargs)

    def read_bytes(self) -> bytes:
        """Give the file's bytes.

        Raises:
            FileNotFoundError: if there is no such file.
        """
        try:
            return self._files[self._path]
        except KeyError:
            raise FileNotFoundError(self._path) from None

    def read_text(self, encoding: str | None = None, errors: str = "strict") -> str:
        """Give the file's text, UTF-8 unless said otherwise.

        Raises:
            FileNotFoundError: if there is no such file.
        """
        return self.read_bytes().decode(encoding or "utf-8", errors)

    def __repr__(self) -> str:
        return f"Resource({self._path!r})"
