"""The tables, and the providers of the engine and of a session for each call.

Both are named `flights`: `Engine` and `Session` are everybody's types, and a plugin that claimed the unnamed ones would
clash with the next plugin that has a database.
"""

import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import platformdirs
import sqlalchemy
from sqlalchemy import Engine, ForeignKey, event
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.schema import CreateIndex, CreateTable

from jackfield import inject, provides


class Base(DeclarativeBase):
    """The tables of this plugin."""


class AirportRow(Base):
    """An airport as it is stored."""

    __tablename__ = "airport"

    iata: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    country: Mapped[str]
    latitude: Mapped[float]
    longitude: Mapped[float]
    city: Mapped[str | None]
    state: Mapped[str | None]


class FlightRow(Base):
    """A flight as it is stored."""

    __tablename__ = "flight"

    id: Mapped[int] = mapped_column(primary_key=True)
    date: Mapped[datetime]
    origin: Mapped[str] = mapped_column(ForeignKey(AirportRow.iata), index=True)
    destination: Mapped[str] = mapped_column(ForeignKey(AirportRow.iata))
    distance: Mapped[float]
    delay: Mapped[int]


def database_path() -> Path:
    """Tell where the database is.

    Returns:
        The file that `JACKFIELD_SAMPLE_DB` names, else one in the user's data folder, so that what one command
        stores the next one finds.
    """
    if named := os.environ.get("JACKFIELD_SAMPLE_DB"):
        return Path(named)
    return platformdirs.user_data_path("jackfield-sample-flights", appauthor=False) / "flights.sqlite3"


@provides(name="flights")
def engine() -> Iterator[Engine]:
    """Open the database when the first call needs it, and close it when the host stops.

    Yields:
        The engine; its tables exist.
    """
    path = database_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    opened = sqlalchemy.create_engine(f"sqlite:///{path}")
    event.listen(opened, "connect", _configure)
    try:
        with opened.begin() as connection:
            # Not `create_all`: it looks first and creates then, and two processes that start together would collide.
            for table in Base.metadata.sorted_tables:
                connection.execute(CreateTable(table, if_not_exists=True))
                for index in table.indexes:
                    connection.execute(CreateIndex(index, if_not_exists=True))
        yield opened
    finally:
        opened.dispose()


def _configure(connection: sqlalchemy.engine.interfaces.DBAPIConnection, _record: object) -> None:
    """Let readers and the writer work at the same time, and check foreign keys."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = NORMAL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


@provides(scope="request", name="flights")
def session(engine: Engine = inject(name="flights")) -> Iterator[Session]:
    """Give each call a transaction of its own: committed when the function returns, rolled back when it raises.

    Args:
        engine: the database.

    Yields:
        The session; the function needs no commit.
    """
    with Session(engine) as opened, opened.begin():
        yield opened
