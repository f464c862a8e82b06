"""A disk that loses its power: what was not synced is written in part, or not at all."""

import random
from pathlib import Path

import apsw
import attrs

SECTOR = 512  # bytes that a disk writes as a whole


@attrs.define
class Disk:
    """What is on the disk for certain, and what is on its way there, by file."""

    certain: dict[str, bytearray] = attrs.field(factory=dict)
    under_way: dict[str, list[tuple[int, bytes | None]]] = attrs.field(factory=dict)

    def write(self, name: str, offset: int, data: bytes | None) -> None:
        """Note a write; without data, that the file ends there."""
        self.under_way.setdefault(name, []).append((offset, data))

    def sync(self, name: str) -> None:
        """Bring a file's writes to the disk."""
        content = self.certain.setdefault(name, bytearray())
        for offset, data in self.under_way.pop(name, ()):
            _apply(content, offset, data)

    def delete(self, name: str) -> None:
        """Forget a file."""
        self.certain.pop(name, None)
        self.under_way.pop(name, None)

    def after_power_loss(self, folder: Path, draw: random.Random) -> None:
        """Write what is found when the power comes back: of each sector under way, the new content or the old."""
        for name in {*self.certain, *self.under_way}:
            content = bytearray(self.certain.get(name, b""))
            for offset, data in self.under_way.get(name, ()):
                if data is None:
                    if draw.random() < 0.5:
                        _apply(content, offset, None)
                    continue
                for start in range(0, len(data), SECTOR):
                    if draw.random() < 0.5:
                        _apply(content, offset + start, data[start : start + SECTOR])
            (folder / Path(name).name).write_bytes(content)


def _apply(content: bytearray, offset: int, data: bytes | None) -> None:
    if data is None:
        del content[offset:]
        return
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data


class LosingVFS(apsw.VFS):
    """SQLite's own way to files, with a note of everything that is written and synced."""

    def __init__(self, name: str, disk: Disk) -> None:
        super().__init__(name, base="")
        self.name, self.disk = name, disk

    def xOpen(self, name, flags):
        """Open a file."""
        return LosingFile(name, flags, self.disk)

    def xDelete(self, name, sync):
        """Delete a file."""
        super().xDelete(name, sync)
        self.disk.delete(name)


class LosingFile(apsw.VFSFile):
    """A file of that."""

    def __init__(self, name, flags, disk: Disk) -> None:
        super().__init__("", name, flags)
        self.name = name.filename() if isinstance(name, apsw.URIFilename) else name
        self.disk = disk

    def xWrite(self, data, offset):
        """Write."""
        super().xWrite(data, offset)
        self.disk.write(self.name, offset, bytes(data))

    def xTruncate(self, size):
        """Cut."""
        super().xTruncate(size)
        self.disk.write(self.name, size, None)

    def xSync(self, flags):
        """Bring to the disk."""
        super().xSync(flags)
        self.disk.sync(self.name)
