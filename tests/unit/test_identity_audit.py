"""The record of what was denied: one each, of its own kind, never more than a disk can hold."""

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loguru import logger

from jackfield import FunctionNotFound, Host, PermissionDenied
from jackfield.config import parse_config
from jackfield.identity import Audit
from jackfield.log import install
from jackfield.model.entrance import Entrance, entrance


@pytest.fixture
def said():
    """What goes to a sink of jackfield's own."""
    messages = []
    remove = install(messages.append)
    yield messages
    remove()


@pytest.fixture
def host(tmp_path):
    file = tmp_path / "jackfield.toml"
    file.write_text('[tenants.t]\npermissions = ["text.*"]\n[tenants.u]\n')
    with Host.from_config(file, observers=()) as made:
        made.register("text.shout", str.upper)
        made.register("secret.all", str.upper)
        made.register("text.nested", lambda: made.call("secret.all", "x"))
        yield made


def told(messages):
    return [(one.event, dict(one.fields)) for one in messages if one.event != "log"]


def test_a_denied_call_has_a_record_with_tenant_function_and_reason(host, said):
    """And one that is allowed, or fails otherwise, has none."""
    host.call("text.shout", "a", tenant="t")
    with pytest.raises(FunctionNotFound):
        host.call("text.nothing", "a", tenant="t")
    with pytest.raises(PermissionDenied) as caught:
        host.call("secret.all", "a", tenant="t")
    reason = caught.value.reason
    assert told(said) == [("denied", {"tenant": "t", "func_name": "secret.all", "reason": reason})]
    assert said[-1].text == f"secret.all: {reason}"
    assert said[-1].level == "WARNING"


@pytest.mark.parametrize(
    ("name", "more", "tenant"),
    [
        ("secret.all", {"tenant": "nobody"}, "nobody"),
        ("text.shout", {"tenant": "t", "headers": {"x-version": "1"}}, "t"),
        ("secret.all", {"headers": {"x-version": "1"}}, ""),
    ],
)
def test_whatever_is_denied_has_one(host, said, name, more, tenant):
    """Unknown tenants, versions that may not be picked."""
    with pytest.raises(PermissionDenied):
        host.call(name, "a", **more)
    ((event, fields),) = told(said)
    assert (event, fields["tenant"], fields["func_name"]) == ("denied", tenant, name)


def test_so_has_a_call_within_a_call(host, said):
    """It is of the same tenant."""
    with pytest.raises(Exception, match=r"text\.nested"):
        host.call("text.nested", tenant="t")
    ((_, fields),) = told(said)
    assert (fields["tenant"], fields["func_name"]) == ("t", "secret.all")


def test_where_it_came_in_is_told(said):
    """As the door has said it."""
    token = entrance.set(Entrance("grpc", "192.0.2.1"))
    Audit().refused("nobody has this key")
    entrance.reset(token)
    assert told(said) == [("refused", {"reason": "nobody has this key", "door": "grpc", "client": "192.0.2.1"})]
    assert said[0].text.endswith("nobody has this key, door grpc, client 192.0.2.1")


def test_it_is_one_line_whatever_strangers_choose(said):
    """Names are bounded, and steer no terminal."""
    Audit().denied("t\n\x1b[2J" + "x" * 10_000, "f\r\nforged" + "y" * 10_000, "no")
    assert said[0].text.isprintable()
    assert len(said[0].text) < 2_000
    assert all(len(value) < 1_000 for value in said[0].fields.values())


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.floats(0, 5), st.integers(1, 300)), max_size=20))
def test_a_flood_is_bounded_and_every_one_is_counted(bursts):
    """A hundred at once and one a second; what is left out stands in the next record."""
    messages = []
    remove = install(messages.append)
    now = 0.0
    audit = Audit(lambda: now)
    tried = 0
    try:
        for pause, many in bursts:
            now += pause
            for _ in range(many):
                audit.refused("no")
                tried += 1
        now += 10.0
        audit.refused("the last")
    finally:
        remove()
    assert len(messages) <= 100 + now + 1
    assert len(messages) + sum(one.fields.get("omitted", 0) for one in messages) == tried + 1


def test_a_flood_of_one_hides_nothing_of_others(said):
    """Each tenant has a bound of its own, and so have credentials that nobody has."""
    audit = Audit(lambda: 0.0)
    for _ in range(1_000):
        audit.denied("noisy", "f", "no")
        audit.refused("no")
    audit.denied("quiet", "f", "no")
    assert told(said)[-1][1]["tenant"] == "quiet"
    assert len(said) == 201


def test_of_names_that_are_no_tenants_there_may_be_many(said):
    """They cost no more than a bound of memory."""
    audit = Audit(lambda: 0.0)
    for number in range(3_000):
        audit.denied(f"t{number}", "f", "no")
    assert 1_000 <= len(said) <= 1_100


def test_threads_may_be_denied_at_once(said):
    """None is lost, none is counted twice."""
    audit = Audit(lambda: 0.0)
    threads = [threading.Thread(target=lambda: [audit.refused("no") for _ in range(100)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(said) == 100


def test_without_a_sink_of_its_own_it_goes_through_loguru():
    """Where an embedder finds it by its kind."""
    records = []
    sink = logger.add(lambda message: records.append(message.record), level="WARNING")
    Audit().denied("t", "f{oo}", "no {braces}")
    logger.remove(sink)
    (record,) = records
    assert record["message"] == "f{oo}: no {braces}"
    assert (record["extra"]["event"], record["extra"]["tenant"]) == ("denied", "t")


def test_a_name_that_is_not_there_tells_no_tenant_of_what_it_may_not_call(tmp_path, said):
    """What resembles it is named if the tenant may call it."""
    configuration = parse_config(b'[tenants.t]\npermissions = ["*.shout", "secret.al"]\n', tmp_path / "jackfield.toml")
    with Host.from_config(configuration, observers=()) as host:
        host.register("text.shout", str.upper)
        host.register("secret.all", str.upper)
        for name, close in (("secret.al", ()), ("txt.shout", ("text.shout",))):
            with pytest.raises(FunctionNotFound) as caught:
                host.call(name, "a", tenant="t")
            assert caught.value.close == close
        with pytest.raises(FunctionNotFound) as caught:
            host.call("secret.al", "a")
        assert caught.value.close == ("secret.all",)
    assert told(said) == []


def test_a_configuration_without_tenants_denies_nothing(said, tmp_path):
    """There is nothing to record."""
    configuration = parse_config(b"timeout = 9.0\n", tmp_path / "jackfield.toml")
    with Host.from_config(configuration, observers=()) as host:
        host.register("f", str.upper)
        assert host.call("f", "a", tenant="anybody", headers={"x-version": "0"}) == "A"
    assert told(said) == []
