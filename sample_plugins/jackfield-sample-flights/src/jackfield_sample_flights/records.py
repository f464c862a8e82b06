"""What goes in and what comes out: plain frozen values.

The constraints are part of the contract: jackfield checks them before a function runs, and `pluginctl info` shows them
as JSON Schema. What takes knowledge to judge (is there such an airport?) is left to the functions.
"""

from datetime import datetime
from typing import Annotated

import attrs
from msgspec import Meta

Code = Annotated[str, Meta(pattern="^[A-Z0-9]{3,4}$", description="IATA code, or the FAA's where there is none")]
Latitude = Annotated[float, Meta(ge=-90, le=90, description="degrees, north is positive")]
Longitude = Annotated[float, Meta(ge=-180, le=180, description="degrees, east is positive")]


@attrs.frozen
class Airport:
    """An airport, with the fields of the `airports` data set of vega_datasets.

    Attributes:
        iata: its code.
        name: its name.
        country: where it is.
        latitude: degrees, north is positive.
        longitude: degrees, east is positive.
        city: the nearest town, when known.
        state: two letters in the USA, when known.
    """

    iata: Code
    name: Annotated[str, Meta(min_length=1)]
    country: str
    latitude: Latitude
    longitude: Longitude
    city: str | None = None
    state: str | None = None


@attrs.frozen
class Flight:
    """One flight, with the fields of the `flights` data sets of vega_datasets.

    Attributes:
        date: when it was scheduled to leave, in the local time of its origin, without an offset from UTC.
        origin: code of the airport it left.
        destination: code of the airport it reached.
        distance: statute miles, as the airline reports them.
        delay: minutes late on arrival; negative when early.
    """

    date: Annotated[datetime, Meta(tz=False)]
    origin: Code
    destination: Code
    distance: Annotated[float, Meta(gt=0)]
    delay: int


@attrs.frozen
class Stored:
    """What became of an imported airport.

    Attributes:
        iata: its code.
        new: whether it was unknown before; else it was replaced.
    """

    iata: str
    new: bool


@attrs.frozen
class Recorded:
    """What became of a recorded flight.

    Attributes:
        id: its number in the database.
        great_circle: statute miles between the two airports, the shortest way.
    """

    id: int
    great_circle: float


@attrs.frozen
class Nearby:
    """An airport and how far it is.

    Attributes:
        iata: its code.
        name: its name.
        miles: statute miles.
    """

    iata: str
    name: str
    miles: float


@attrs.frozen
class Delays:
    """How punctual the flights from one airport were.

    Attributes:
        origin: the airport's code.
        flights: how many were recorded.
        late: how many came more than 15 minutes late, as the US authorities count it.
        mean: minutes; None when there are no flights.
        worst: minutes; None when there are no flights.
    """

    origin: str
    flights: int
    late: int
    mean: float | None
    worst: int | None
