"""Airports and flights: a sample of jackfield functions with typed payloads and an injected database session."""

from jackfield_sample_flights.functions import DelayStats, distance, import_airport, nearest, record
from jackfield_sample_flights.records import Airport, Delays, Flight, Nearby, Recorded, Stored

__all__ = [
    "Airport",
    "DelayStats",
    "Delays",
    "Flight",
    "Nearby",
    "Recorded",
    "Stored",
    "distance",
    "import_airport",
    "nearest",
    "record",
]
