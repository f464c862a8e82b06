"""Behaviour through a host, on real records."""

from concurrent.futures import ThreadPoolExecutor

import attrs
import pytest
from dogpile.cache import CacheRegion, make_region
from jackfield_sample_flights import Airport, Delays, Flight, Recorded, Stored
from jackfield_sample_flights.database import AirportRow, database_path
from loguru import logger
from sqlalchemy.orm import Session

from jackfield import DeadlineExceeded, Host, PayloadError, Rejected, inject

JFK = Airport("JFK", "John F Kennedy Intl", "USA", 40.63975111, -73.77892556)


def test_every_real_airport_is_stored(host, airports):
    """All 3,376 records pass the contract, are new once, and are found again."""
    with ThreadPoolExecutor(4) as pool:
        stored = list(pool.map(lambda airport: host.call("flights.import_airport", airport, timeout=30), airports))
    assert stored == [Stored(airport["iata"], new=True) for airport in airports]
    assert host.call("flights.import_airport", airports[0]) == Stored("00M", new=False)
    manhattan = host.call("flights.nearest", {"latitude": 40.7, "longitude": -74.0, "count": 2}, timeout=30)
    assert [airport.iata for airport in manhattan] == ["JRB", "6N7"]


def test_real_flights_are_recorded_by_many_threads(host, airports, flights):
    """Each gets a number of its own, and our distance agrees with the airline's."""
    named = {flight[end] for flight in flights for end in ("origin", "destination")}
    for airport in airports:
        if airport["iata"] in named:
            host.call("flights.import_airport", airport)
    with ThreadPoolExecutor(8) as pool:
        recorded = list(pool.map(lambda flight: host.call("flights.record", flight, timeout=30), flights))
    assert {result.id for result in recorded} == set(range(1, len(flights) + 1))
    assert all(
        result.great_circle == pytest.approx(flight["distance"], abs=10)
        for result, flight in zip(recorded, flights, strict=True)
    )
    expected = [flight["delay"] for flight in flights if flight["origin"] == "JFK"]
    assert host.call("flights.delay_stats", "JFK") == Delays(
        "JFK",
        len(expected),
        sum(delay > 15 for delay in expected),
        pytest.approx(sum(expected) / len(expected)),
        max(expected),
    )


def test_a_typed_handle_takes_records(host):
    """The payload's class serves as well as plain data."""
    store = host.function("flights.import_airport", Airport, Stored)
    assert store(JFK) == Stored("JFK", new=True)


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"latitude": 95.0}, "$.latitude"),
        ({"longitude": "west"}, "$.longitude"),
        ({"iata": "kennedy"}, "$.iata"),
        ({"latitude": float("nan")}, "$.latitude"),
        ({"name": ""}, "$.name"),
        ({"city": float("nan")}, "$.city"),
    ],
)
def test_a_malformed_airport_names_its_field(host, airports, change, path):
    """The contract refuses it before the function runs."""
    with pytest.raises(PayloadError) as caught:
        host.call("flights.import_airport", {**airports[0], **change})
    assert caught.value.path == path


def test_a_date_with_an_offset_is_refused(filled, flights):
    """Local time is what the field means; dropping an offset silently would move the flight."""
    with pytest.raises(PayloadError) as caught:
        filled.call("flights.record", {**flights[0], "date": "2013-01-01T05:15:00Z"})
    assert caught.value.path == "$.date"


@pytest.mark.parametrize(("latitude", "longitude"), [(0.0, 0.0), (float("nan"), 10.0)])
def test_a_placeholder_is_no_position(host, latitude, longitude):
    """Nonsense in a record that the caller made itself, and the host therefore trusts, is refused by the function."""
    with pytest.raises(Rejected) as caught:
        host.call("flights.import_airport", attrs.evolve(JFK, latitude=latitude, longitude=longitude))
    assert (caught.value.code, caught.value.details) == ("bad_position", {"iata": "JFK"})


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"destination": "EWR"}, "same_airport"),
        ({"destination": "QQQ"}, "unknown_airport"),
        ({"distance": 140.0}, "bad_distance"),
    ],
)
def test_an_implausible_flight_is_rejected_and_not_stored(filled, flights, change, code):
    """The refusal has a code, and the next flight gets the first number."""
    with pytest.raises(Rejected) as caught:
        filled.call("flights.record", {**flights[0], **change})
    assert caught.value.code == code
    assert filled.call("flights.record", flights[0]).id == 1


def test_an_unknown_airport_comes_with_close_codes(filled):
    """Who mistypes a code is told what there is."""
    with pytest.raises(Rejected, match="did you mean") as caught:
        filled.call("flights.distance", {"origin": "JFK", "destination": "SAE"})
    assert "SEA" in caught.value.details["close"]


def test_the_great_circle_is_the_known_one(filled):
    """Kennedy to Los Angeles is 2,475 statute miles by the airlines' books."""
    assert filled.call("flights.distance", {"origin": "JFK", "destination": "LAX"}) == pytest.approx(2_475, abs=10)


def test_the_other_side_of_the_earth_is_half_its_circumference(host):
    """Rounding does not push the formula out of its domain."""
    host.call("flights.import_airport", {"iata": "AAA", "name": "a", "country": "x", "latitude": 45, "longitude": 10})
    (only,) = host.call("flights.nearest", {"latitude": -45, "longitude": -170})
    assert only.miles == pytest.approx(3.141592653589793 * 3958.7613)


def test_what_one_host_stores_the_next_one_finds(make_host):
    """The database is a file, and each call is a transaction of its own."""
    with make_host() as first:
        first.call("flights.import_airport", JFK)
    with make_host() as second:
        assert second.call("flights.import_airport", JFK) == Stored("JFK", new=False)


def test_a_call_that_raises_changes_nothing(make_host):
    """The session sees the exception, and rolls back what the function had done by then."""

    def store_and_fail(iata: str, *, session: Session = inject(name="flights")) -> None:
        session.add(AirportRow(iata=iata, name="x", country="x", latitude=1, longitude=1))
        session.flush()
        raise Rejected("changed my mind")

    with make_host() as host:
        host.register("demo.store_and_fail", store_and_fail)
        with pytest.raises(Rejected):
            host.call("demo.store_and_fail", "JFK")
        with pytest.raises(Rejected, match="no airport JFK"):
            host.call("flights.distance", {"origin": "JFK", "destination": "JFK"})


def test_no_work_is_done_after_the_deadline(filled, flights):
    """A call whose time is up stores nothing."""
    with pytest.raises(DeadlineExceeded):
        filled.call("flights.record", flights[0], timeout=0)
    assert filled.call("flights.record", flights[0]).id == 1


def test_delays_are_computed_anew_without_a_cache(filled, flights):
    """The cache is optional: nothing provides one here."""
    for expected in (1, 2):
        filled.call("flights.record", flights[0])
        assert filled.call("flights.delay_stats", "EWR").flights == expected


def test_delays_may_be_old_with_a_cache(make_host, airports, flights):
    """Whoever provides a `CacheRegion` makes the same function use it."""
    region = make_region().configure("dogpile.cache.memory")
    host = make_host()
    host.provide(region, type=CacheRegion)
    with host:
        for airport in airports:
            if airport["iata"] in {"EWR", "IAH"}:
                host.call("flights.import_airport", airport)
        for _ in range(2):
            host.call("flights.record", flights[0])
            assert host.call("flights.delay_stats", "EWR").flights == 1
        region.invalidate()
        assert host.call("flights.delay_stats", "EWR").flights == 2


def test_an_airport_without_flights_has_no_mean(filled):
    """Nothing is not zero minutes."""
    assert filled.call("flights.delay_stats", "SEA") == Delays("SEA", 0, 0, None, None)


def test_the_log_is_bound_to_domain_and_call(filled, flights):
    """What the named logger writes says which function wrote it."""
    records = []
    sink = logger.add(
        lambda message: records.append(message.record), filter=lambda record: "implausible" in record["message"]
    )
    try:
        with pytest.raises(Rejected):
            filled.call("flights.record", {**flights[0], "distance": 1.0})
    finally:
        logger.remove(sink)
    (extra,) = (record["extra"] for record in records)
    assert (extra["domain"], extra["func_name"], extra["miles"]) == ("flights", "flights.record", 1.0)


def test_the_database_is_in_the_users_data_folder_by_default(monkeypatch):
    """Nobody has to configure anything, and two commands share what they store."""
    monkeypatch.delenv("JACKFIELD_SAMPLE_DB", raising=False)
    assert database_path().parent.name == "jackfield-sample-flights"


def test_installation_is_enough(tmp_path, monkeypatch):
    """Installed means found: functions and providers."""
    monkeypatch.setenv("JACKFIELD_SAMPLE_DB", str(tmp_path / "flights.sqlite3"))
    with Host.discover() as host:
        record = host.function("flights.record", Flight, Recorded)
        host.call("flights.import_airport", JFK)
        with pytest.raises(Rejected, match="no airport SEA"):
            host.call("flights.distance", {"origin": "JFK", "destination": "SEA"})
        assert record is not None
