"""What a caller gives beside the payload: one clear error, sync and async alike; headers in any case."""

import asyncio
from collections import UserDict
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jackfield import DeadlineExceeded, Host, current_call, deadline, function
from jackfield.calls.handles import Function
from jackfield.model.headers import Headers


def there():
    return current_call().deadline


async def athere():
    return current_call().deadline


@pytest.fixture(scope="module")
def host():
    with Host(observers=()) as host:
        host.register("f", there)
        host.register("a", athere)
        host.register("outer", lambda given: host.call("f", **given))
        host.register("limited", function(timeout=1.0)(there))
        yield host


WAYS = {
    "call": lambda host, *given, **more: host.call(*given, **more),
    "acall": lambda host, *given, **more: asyncio.run(host.acall(*given, **more)),
    "handle": lambda host, name, **more: Function(host, name)(None, **more),
    "ahandle": lambda host, name, **more: asyncio.run(Function(host, name).acall(None, **more)),
}
every_way = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)

LONG = r"a timeout is at most [\d,]+ seconds, not {}; without one, a call takes as long as it takes"
WRONG = {
    "infinite": ({"timeout": float("inf")}, ValueError, LONG.format("inf")),
    "minus infinite": ({"timeout": float("-inf")}, ValueError, LONG.format("-inf")),
    "too long": ({"timeout": 1e10}, ValueError, LONG.format(r"10000000000\.0")),
    "too long an int": ({"timeout": 10**400}, ValueError, LONG.format("10+")),
    "NaN": ({"timeout": float("nan")}, ValueError, "a timeout is a number of seconds, not NaN"),
    "text": ({"timeout": "1"}, TypeError, "a timeout is a number of seconds, not str"),
    "a bool": ({"timeout": False}, TypeError, "a timeout is a number of seconds, not bool"),
    "complex": ({"timeout": 1j}, TypeError, "a timeout is a number of seconds, not complex"),
    "decimal": ({"timeout": Decimal(1)}, TypeError, "a timeout is a number of seconds, not Decimal"),
    "tenant": ({"tenant": 7}, TypeError, "a tenant is a str, not int"),
    "unhashable tenant": ({"tenant": ["t"]}, TypeError, "a tenant is a str, not list"),
    "version": ({"version": 1.1}, TypeError, "a version is a str, not float"),
    "unhashable version": ({"version": []}, TypeError, "a version is a str, not list"),
    "pairs": ({"headers": [("a", "b")]}, TypeError, "headers are a mapping of str to str, as in .*, not list"),
    "text as headers": ({"headers": "a: b"}, TypeError, "headers are a mapping of str to str, as in .*, not str"),
    "header's name": ({"headers": {b"a": "b"}}, TypeError, "the name of a header is a str, not bytes"),
    "header's value": ({"headers": {"x-version": 2}}, TypeError, "the value of header 'x-version' is a str, not int"),
}


@every_way
@pytest.mark.parametrize("name", ["f", "a", "limited"])
@pytest.mark.parametrize(("given", "kind", "text"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_one_clear_error(host, way, name, given, kind, text):
    """Before anything runs, and never what a hash, a comparison or a timer says of it."""
    with pytest.raises(kind, match=rf"^{text}$"):
        way(host, name, **given)


@every_way
@pytest.mark.parametrize("name", [None, 7, [], b"f", ("f",)])
def test_a_name_is_text(host, way, name):
    """And nothing that merely resembles it."""
    if way in (WAYS["handle"], WAYS["ahandle"]):
        pytest.skip("a handle checks its name when it is made")
    with pytest.raises(TypeError, match=rf"^a function's name is a str, not {type(name).__name__}$"):
        way(host, name)


@every_way
@pytest.mark.parametrize("seconds", [5, 5.0, Fraction(5), 9e9])
def test_any_number_of_seconds_is_a_timeout(host, way, seconds):
    """As long as the system can wait for."""
    assert way(host, "f", timeout=seconds) is not None
    assert way(host, "a", timeout=seconds) is not None


@every_way
def test_a_time_that_is_up_already_is_a_deadline(host, way):
    """Not a wrong argument: it may be what is left of somebody's budget."""
    with pytest.raises(DeadlineExceeded):
        way(host, "f", timeout=-1.0)


@pytest.mark.parametrize("seconds", [None, "1", True, float("inf"), float("nan"), 1e10])
def test_blocks_hosts_and_policies_take_the_same_seconds(seconds):
    """What a call would not take, nothing else takes."""
    wrong = (TypeError, ValueError)
    with pytest.raises(wrong):
        deadline(seconds)
    if seconds is not None:
        with pytest.raises(wrong):
            Host(observers=(), timeout=seconds)
        with pytest.raises(wrong):
            function(timeout=seconds)


# ---- headers ----


def test_headers_are_found_in_any_case_and_shown_in_their_own(host):
    """By the function that reads them, and by those it calls."""
    seen = []

    def inner():
        headers = current_call().headers
        seen.append((headers["LANGUAGE"], headers.get("language"), "lanGuage" in headers, dict(headers)))

    def outer():
        inner()
        host.call("headers.inner")

    host.register("headers.inner", inner)
    host.register("headers.outer", outer)
    host.call("headers.outer", headers=UserDict({"Language": "de", "X-Trace-Me": "no"}))
    assert seen == [("de", "de", True, {"Language": "de", "X-Trace-Me": "no"})] * 2


@pytest.mark.parametrize("name", ["x-version", "X-Version", "X-VERSION"])
def test_a_version_is_asked_for_in_any_case(name):
    """As HTTP has it: frameworks hand over what they were given."""
    with Host(observers=()) as host:
        host.register("f", lambda: "old", version="1.0.0")
        host.register("f", lambda: "new", version="2.0.0")
        assert host.call("f", headers={name: "2.0.0"}) == "new"
        assert asyncio.run(host.acall("f", headers={name: "2.0.0"})) == "new"


def test_what_the_caller_changes_later_changes_no_call(host):
    """The headers of a call are its own."""
    mine = {"a": "1"}
    kept = []
    host.register("headers.kept", lambda: kept.append(current_call().headers))
    host.call("headers.kept", headers=mine)
    mine["a"] = "2"
    assert kept == [{"A": "1"}]


def test_headers_show_no_value():
    """A repr ends in logs."""
    assert repr(Headers({"Authorization": "Bearer x"})) == "Headers('Authorization')"


names = st.text(st.characters(max_codepoint=0x2FFF, exclude_categories=["Cs"]), max_size=5)


def folded(name):
    return name.lower() if name.isascii() else name


@settings(deadline=None)
@given(st.dictionaries(names, names), st.sampled_from([str.upper, str.lower, str.title, str.swapcase]))
def test_the_case_of_a_name_makes_no_difference(fields, changed):
    """Of names that are one but for case the last counts; names beyond ASCII are taken as they are."""
    headers = Headers(fields)
    for name, value in fields.items():
        same = [
            each
            for each in fields
            if each == name or (name.isascii() and each.isascii() and each.lower() == name.lower())
        ]
        expected = fields[same[-1]]
        assert headers[name] == headers.get(name) == expected
        if name.isascii():
            assert headers[changed(name)] == expected
        assert value == expected or len(same) > 1
    assert set(headers) <= set(fields)
    assert len(headers) == len(list(headers))
    assert headers == {changed(name) if name.isascii() else name: value for name, value in headers.items()}
    assert headers.get(7) is None
    assert 7 not in headers
