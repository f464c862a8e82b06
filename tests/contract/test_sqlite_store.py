"""The store in SQLite passes the suite that every store passes."""

import tempfile
from pathlib import Path

from jackfield.store import SQLiteStore
from jackfield.store.history import EVENTS
from jackfield.testing import FakeClock
from jackfield.testing.stores import StoreConformance


class TestSQLiteStore(StoreConformance):
    """On a clock that the suite moves, each in a file of its own."""

    kept = EVENTS

    async def open_store(self):
        self.clock = FakeClock()
        return SQLiteStore(Path(tempfile.mkdtemp(), "jackfield.db"), self.clock)

    async def pass_time(self, seconds):
        self.clock.advance(seconds)
