"""The functions are strangers' own; what is tested is that each name leads to one and takes the payload we document."""

from importlib.metadata import distribution

import pytest

from jackfield import FunctionCrashed, Host, PayloadError

ADVERTISED = {
    entry.name: entry
    for entry in distribution("jackfield-sample-text").entry_points
    if entry.group == "jackfield.functions"
}

# One documented payload for each function, and its result.
DOCUMENTED = {
    "text.slugify": ({"text": "Grüße aus Köln"}, "grusse-aus-koln"),
    "text.capwords": ({"s": "new york"}, "New York"),
    "text.dedent": ("    indented", "indented"),
    "text.normalize": ({"form": "NFKC", "unistr": "ﬁne"}, "fine"),
    "text.shorten": ({"text": "a long line", "width": 8, "placeholder": "…"}, "a long…"),
    "text.similar": ({"word": "Lndon", "possibilities": ["London", "Paris"]}, ["London"]),
    "text.wrap": ({"text": "a long line", "width": 8}, ["a long", "line"]),
    "humanize.delta": ({"value": 7200}, "2 hours"),
    "humanize.list": (["Oslo", "Rome", "Kyoto"], "Oslo, Rome and Kyoto"),
    "humanize.number": ({"value": 1_200_000}, "1.2 million"),
    "humanize.size": ({"value": 3_000_000}, "3.0 MB"),
    "money.format": ({"number": 1234.5, "currency": "EUR", "locale": "de_DE"}, "1.234,50\xa0€"),
    "stats.correlation": ({"x": [1, 2, 3], "y": [2, 4, 6]}, pytest.approx(1.0)),
    "stats.mean": ({"data": [1, 2, 6]}, 3.0),
    "stats.median": ([1, 2, 6], 2),
    "stats.quantiles": ({"data": [1, 2, 3, 4]}, [1.25, 2.5, 3.75]),
}


@pytest.fixture(scope="module")
def host():
    with Host() as host:
        for name, entry in ADVERTISED.items():
            host.register(name, entry.load())
        yield host


def test_every_advertised_function_has_a_documented_payload():
    """Nothing is advertised that no test calls."""
    assert ADVERTISED.keys() == DOCUMENTED.keys()


@pytest.mark.parametrize("name", sorted(DOCUMENTED))
def test_the_documented_payload_gives_the_documented_result(host, name):
    """What the README promises holds."""
    payload, expected = DOCUMENTED[name]
    assert host.call(name, payload, timeout=5) == expected


def test_annotations_of_strangers_are_checked():
    """A value that contradicts the author's annotation is refused before the function runs, with its path."""
    with Host() as host:
        host.register("text.slugify", ADVERTISED["text.slugify"].load())
        with pytest.raises(PayloadError) as caught:
            host.call("text.slugify", {"text": "x", "max_length": "ten"})
        assert caught.value.path == "$.max_length"


def test_an_unknown_parameter_is_refused(host):
    """A misspelt option is never silently dropped."""
    with pytest.raises(PayloadError):
        host.call("humanize.size", {"value": 1, "binry": True})


def test_a_stranger_s_exception_is_a_crash_with_its_cause(host):
    """A function that does not know jackfield cannot reject; its exception stays visible."""
    with pytest.raises(FunctionCrashed) as caught:
        host.call("stats.mean", {"data": []})
    assert type(caught.value.__cause__).__name__ == "StatisticsError"


def test_installation_is_enough():
    """Installed means found: no registration, no configuration."""
    with Host.discover() as host:
        assert host.call("text.slugify", {"text": "Łódź"}) == "lodz"
        assert host.snapshot.functions.keys() >= ADVERTISED.keys()
