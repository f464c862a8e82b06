"""The functions. Each is an ordinary callable: pass the dependencies yourself, and it runs without any host."""

import math
from difflib import get_close_matches
from heapq import nsmallest
from typing import Annotated

import attrs
from dogpile.cache import CacheRegion
from msgspec import Meta
from sqlalchemy import case, func, select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.orm import Session

from jackfield import Logger, Rejected, check_deadline, function, inject, provides
from jackfield_sample_flights.database import AirportRow, FlightRow
from jackfield_sample_flights.records import (
    Airport,
    Code,
    Delays,
    Flight,
    Latitude,
    Longitude,
    Nearby,
    Recorded,
    Stored,
)

EARTH_RADIUS = 3958.7613  # statute miles, mean
LATE = 15  # minutes
# Airlines report the distance between runways as they were then; over 226 real routes it is within 9 miles of ours.
TOLERANCE = 25  # miles
STATISTICS_MAY_BE_OLD = 60.0  # seconds


@provides(name="flights-log")
def flights_log(log: Logger) -> Logger:
    """Give the log of everything about flights: the host's logger with one more field.

    Args:
        log: the logger that jackfield gives to every plugin; its records name the call that runs when they are written.

    Returns:
        The logger that the functions below ask for by its name.
    """
    return log.bind(domain="flights")


@function(timeout=5.0, executor="thread", idempotent=True)
def import_airport(
    airport: Airport, *, session: Session = inject(name="flights"), log: Logger = inject(name="flights-log")
) -> Stored:
    """Store one airport, or replace what is known of it.

    Args:
        airport: the record.
        session: a transaction.
        log: where replacements are noted.

    Returns:
        Whether it is new.

    Raises:
        Rejected: `bad_position` when the coordinates are a placeholder and no place.
    """
    if not math.isfinite(airport.latitude + airport.longitude) or airport.latitude == airport.longitude == 0:
        raise Rejected(f"{airport.iata} has no position", code="bad_position", details={"iata": airport.iata})
    new = session.get(AirportRow, airport.iata) is None
    values = attrs.asdict(airport)
    # One statement, so that two imports of the same airport at the same time are both fine.
    session.execute(insert(AirportRow).values(values).on_conflict_do_update(["iata"], set_=values))
    if not new:
        log.info("airport replaced", iata=airport.iata)
    return Stored(airport.iata, new)


@function(timeout=5.0, executor="thread")
def record(
    flight: Flight, *, session: Session = inject(name="flights"), log: Logger = inject(name="flights-log")
) -> Recorded:
    """Check one flight against the airports it names, and store it.

    Args:
        flight: the record.
        session: a transaction.
        log: where refused distances are noted.

    Returns:
        Its number, and the distance as it should be.

    Raises:
        Rejected: `same_airport`; `unknown_airport`; `bad_distance` when the two airports are not that far apart.
    """
    if flight.origin == flight.destination:
        raise Rejected(f"a flight from {flight.origin} to itself", code="same_airport")
    miles = distance(flight.origin, flight.destination, session=session)
    if not abs(flight.distance - miles) <= TOLERANCE:
        log.warning("implausible distance", origin=flight.origin, destination=flight.destination, miles=flight.distance)
        raise Rejected(
            f"{flight.origin} and {flight.destination} are {miles:.0f} miles apart, not {flight.distance:g}",
            code="bad_distance",
            details={"expected": round(miles), "got": flight.distance},
        )
    row = FlightRow(**attrs.asdict(flight))
    session.add(row)
    session.flush()  # gives the row its id
    return Recorded(row.id, miles)


@function(timeout=5.0, executor="thread", idempotent=True)
def distance(origin: Code, destination: Code, *, session: Session = inject(name="flights")) -> float:
    """Measure the great circle between two airports.

    Args:
        origin: code of one.
        destination: code of the other.
        session: a transaction.

    Returns:
        Statute miles.

    Raises:
        Rejected: `unknown_airport`, with codes that resemble it.
    """
    here, there = _airport(session, origin), _airport(session, destination)
    return _great_circle(here.latitude, here.longitude, there.latitude, there.longitude)


@function(timeout=5.0, executor="thread", idempotent=True)
def nearest(
    latitude: Latitude,
    longitude: Longitude,
    count: Annotated[int, Meta(ge=1, le=100)] = 3,
    *,
    session: Session = inject(name="flights"),
) -> list[Nearby]:
    """Find the airports nearest to a place.

    Args:
        latitude: degrees, north is positive.
        longitude: degrees, east is positive.
        count: how many.
        session: a transaction.

    Returns:
        At most `count`, nearest first.

    Raises:
        DeadlineExceeded: when the time is up before all airports are measured.
    """
    measured = []
    columns = select(AirportRow.iata, AirportRow.name, AirportRow.latitude, AirportRow.longitude)
    for iata, name, its_latitude, its_longitude in session.execute(columns):
        check_deadline()  # nobody can interrupt this loop from outside
        measured.append((_great_circle(latitude, longitude, its_latitude, its_longitude), iata, name))
    return [Nearby(iata, name, miles) for miles, iata, name in nsmallest(count, measured)]


@attrs.define
class DelayStats:
    """Tell how punctual the recorded flights from one airport are.

    A class, for a function whose dependencies are many: its fields are injected, and an instance serves one call. With
    a plugin installed that provides a `CacheRegion`, such as jackfield-sample-providers, the figures may be a minute
    old; without one they are computed anew for each call.

    Attributes:
        session: a transaction.
        cache: the application's cache, or None.
    """

    session: Session = inject(name="flights")
    cache: CacheRegion | None = inject(optional=True)

    def __call__(self, origin: Code) -> Delays:
        """Compute the figures, or fetch them from the cache.

        Args:
            origin: the airport's code.

        Returns:
            The figures; those of an airport nobody has recorded a flight from have no mean.

        Raises:
            Rejected: `unknown_airport`, with codes that resemble it.
        """
        if self.cache is None:
            return self._compute(origin)
        key = f"flights.delay_stats:{origin}"
        delays: Delays = self.cache.get_or_create(key, lambda: self._compute(origin), STATISTICS_MAY_BE_OLD)
        return delays

    def _compute(self, origin: str) -> Delays:
        _airport(self.session, origin)
        late = func.count(case((FlightRow.delay > LATE, 1)))
        figures = select(func.count(), late, func.avg(FlightRow.delay), func.max(FlightRow.delay))
        return Delays(origin, *self.session.execute(figures.where(FlightRow.origin == origin)).one())


def _airport(session: Session, iata: str) -> AirportRow:
    """Look an airport up, or refuse with the codes that resemble it."""
    found = session.get(AirportRow, iata)
    if found is None:
        close = get_close_matches(iata, session.scalars(select(AirportRow.iata)), n=3)
        hint = f"; did you mean {' or '.join(close)}?" if close else ""
        raise Rejected(
            f"no airport {iata} is known{hint}", code="unknown_airport", details={"iata": iata, "close": close}
        )
    return found


def _great_circle(latitude: float, longitude: float, to_latitude: float, to_longitude: float) -> float:
    """Measure by the haversine formula, which stays exact for short distances; degrees in, statute miles out."""
    phi, to_phi = math.radians(latitude), math.radians(to_latitude)
    half_chord = (
        math.sin((to_phi - phi) / 2) ** 2
        + math.cos(phi) * math.cos(to_phi) * math.sin(math.radians(to_longitude - longitude) / 2) ** 2
    )
    # Rounding may put the sum a hair above 1 for places opposite each other.
    return 2 * EARTH_RADIUS * math.asin(math.sqrt(min(half_chord, 1.0)))
