"""Results of submitted calls that are sent out: what is sent, what becomes of it, and that nothing is lost."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from base64 import b64encode
from threading import Event

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_structured_event
from standardwebhooks import Webhook

from jackfield import Host, Rejected
from jackfield.config import parse_config
from jackfield.errors import ConfigError, FunctionNotFound, PermissionDenied
from jackfield.testing import no_leaks
from jackfield_contrib.delivering import sending

OLD, NEW = (f"whsec_{b64encode(text * 4).decode()}" for text in (b"the old one", b"the new one"))
CONFIG = """
lazy = true
[store]
url = "sqlite:calls.db"
[deliveries.crm]
url = "{url}"
secret = ["env:CRM_NEW", "env:CRM_OLD"]
functions = ["billing.*", "shop.pay"]
private = true
"""


def charge(amount: int) -> dict:
    return {"amount": amount, "text": "Grüße"}


def refuse() -> None:
    raise Rejected("too much", code="too_much")


def crash() -> None:
    raise ValueError("the password is swordfish")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Have secrets, and little patience."""
    monkeypatch.setenv("CRM_OLD", OLD)
    monkeypatch.setenv("CRM_NEW", NEW)
    monkeypatch.setattr(sending, "PAUSES", (0.0, 0.0))


def configured(folder, url, **replaced):
    text = CONFIG.format(url=url)
    for old, new in replaced.items():
        text = text.replace(old, new)
    return parse_config(text.encode(), folder / "jackfield.toml")


@pytest.fixture
def hosted(tmp_path):
    """Make hosts that deliver to an address."""

    def make(url):
        host = Host.from_config(configured(tmp_path, url), observers=())
        host.register("billing.charge", charge)
        host.register("billing.refuse", refuse)
        host.register("billing.crash", crash)
        host.register("other.charge", charge)
        return host

    return make


def delivery_of(host, name="crm", count=1):
    """Give the call that sends, once it has ended."""
    until = time.monotonic() + 30.0
    while time.monotonic() < until:
        found = [handle for handle in host.submissions(f"deliveries.{name}") if handle.status.settled]
        if len(found) >= count:
            return found[0]
        time.sleep(0.02)
    raise AssertionError([(each.function, each.status) for each in host.submissions()])


def entry_of(host, handle):
    return host.durable_calls.read(handle.id)


# --- What is sent -----------------------------------------------------------------------------------------------------


def test_the_result_of_a_submitted_call_is_posted_as_a_signed_event(hosted, receiver):
    """Once, as a CloudEvent that the reference libraries read; other functions, and direct calls, are nobody's."""
    there = receiver()
    with no_leaks(), hosted(there.url) as host:
        host.submit("other.charge", 1).result(20.0)
        host.call("billing.charge", 2)
        handle = host.submit("billing.charge", 7)
        request = there.wait(1)
        assert delivery_of(host).result(20.0) == {"status": 204}
        assert [each.function for each in host.submissions("deliveries.*")] == ["deliveries.crm"]
    assert len(there.requests) == 1
    assert (request.path, request.headers["content-type"]) == ("/hook", "application/cloudevents+json")
    for secret in (OLD, NEW):
        assert Webhook(secret).verify(request.body, request.headers) == json.loads(request.body)
    event = from_structured_event(HTTPMessage(request.headers, request.body))
    assert (event.get_type(), event.get_subject(), event.get_source()) == (
        "jackfield.call.succeeded",
        "billing.charge",
        f"/v1/calls/{handle.id}",
    )
    assert event.get_id() == request.headers["webhook-id"]
    assert event.get_data() == {
        "id": handle.id,
        "function": "billing.charge",
        "status": "succeeded",
        "result": {"amount": 7, "text": "Grüße"},
    }


def test_how_a_call_failed_is_told_as_a_problem(hosted, receiver):
    """Without the words of a crash, as at a door."""
    there = receiver()
    with hosted(there.url) as host:
        host.submit("billing.refuse")
        refused = json.loads(there.wait(1).body)
        assert (refused["type"], refused["data"]["problem"]["code"]) == ("jackfield.call.failed", "too_much")
        host.submit("billing.crash")
        crashed = there.wait(2)
        assert json.loads(crashed.body)["data"]["problem"]["outcome"] == "crashed"
        assert b"swordfish" not in crashed.body


def test_a_call_that_is_cancelled_before_it_runs_is_told_too(hosted, receiver):
    """Whoever waits for it has to know."""
    there, go = receiver(), Event()
    with hosted(there.url) as host:
        host.register("billing.wait", lambda: go.wait(30.0) and None)
        blocked = [host.submit("billing.wait") for _ in range(16)]  # all seats
        last = host.submit("billing.charge", 1)
        assert last.cancel()
        go.set()
        for each in blocked:
            each.result(20.0)
        told = [json.loads(there.wait(number + 1).body) for number in range(17)]
    assert {each["data"]["id"]: each["type"].rpartition(".")[2] for each in told} == {
        **{each.id: "succeeded" for each in blocked},
        last.id: "cancelled",
    }


# --- What the receiver says -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "status", "code"),
    [
        ((200, {}, b"thanks"), "succeeded", None),
        ((299, {}, b""), "succeeded", None),
        ((410, {}, b""), "failed", "gone"),
        ((400, {}, b""), "failed", "not_taken"),
        ((404, {}, b""), "failed", "not_taken"),
        ((401, {}, b""), "failed", "not_taken"),
        ((301, {"location": "/elsewhere"}, b""), "failed", "redirected"),
        ((302, {"location": "http://127.0.0.1:1/"}, b""), "failed", "redirected"),
        ((307, {"location": "/elsewhere"}, b""), "failed", "redirected"),
    ],
)
def test_a_verdict_is_one_at_once(hosted, receiver, answer, status, code):
    """And no redirect is followed."""
    there = receiver(answer)
    with hosted(there.url) as host:
        host.submit("billing.charge", 7)
        handle = delivery_of(host)
        assert handle.status == status
        if code is not None:
            with pytest.raises(Rejected) as caught:
                handle.result(20.0)
            assert caught.value.code == code
    assert len(there.requests) == 1


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, None])
def test_what_may_pass_is_tried_again(hosted, receiver, status):
    """With the same id and body, signed anew."""
    there = receiver(None if status is None else (status, {}, b""), (204, {}, b""))
    with hosted(there.url) as host:
        host.submit("billing.charge", 7)
        assert delivery_of(host).result(20.0) == {"status": 204}
    first, second = there.requests
    assert (first.headers["webhook-id"], first.body) == (second.headers["webhook-id"], second.body)


def test_who_says_when_to_come_again_is_waited_for(hosted, receiver):
    """The pause is kept with the call."""
    there = receiver((429, {"retry-after": "3600"}, b""))
    with hosted(there.url) as host:
        host.submit("billing.charge", 7)
        there.wait(1)
        until = time.monotonic() + 30.0
        while time.monotonic() < until:
            states = [entry_of(host, each).now for each in host.submissions("deliveries.crm")]
            if [(state.status, state.pause) for state in states] == [("accepted", 3_600.0)]:
                break
            time.sleep(0.02)
        else:
            raise AssertionError(states)


def test_a_receiver_that_hangs_holds_up_nobody_else(hosted, receiver):
    """It has a quarter of the seats; what waits for it goes on as soon as one is free."""
    go = Event()

    def hang(handler):
        go.wait(60.0)
        handler.wfile.write(b"HTTP/1.1 204 No Content\r\n\r\n")

    there = receiver((0, {}, hang))
    with hosted(there.url) as host:
        for number in range(20):
            host.submit("billing.charge", number).result(20.0)
        there.wait(4)
        assert host.submit("other.charge", 1).result(20.0)["amount"] == 1
        assert len(there.requests) == 4
        go.set()
        there.wait(20)
        delivery_of(host, count=20)


def test_with_tenants_a_result_is_told_with_its_tenant(tmp_path, receiver):
    """Sending is the host's own work, which needs no permission; nobody may have it done for him."""
    there = receiver()
    tenants = '[tenants.t-1]\npermissions = ["billing.*"]\n[tenants.t-2]\n'
    config = configured(tmp_path, there.url, **{"lazy = true": f"lazy = true\n{tenants}"})
    with Host.from_config(config, observers=()) as host:
        host.register("billing.charge", charge)
        host.submit("billing.charge", 7, tenant="t-1")
        assert json.loads(there.wait(1).body)["data"]["tenant"] == "t-1"
        assert delivery_of(host).tenant is None
        with pytest.raises(PermissionDenied):
            host.call("deliveries.crm", {"call": "0" * 32, "mark": ""}, tenant="t-1")
        with pytest.raises(Rejected):
            host.call("deliveries.crm", {"call": "0" * 32, "mark": ""}, tenant="t-2")


@pytest.mark.slow
def test_what_is_tried_in_vain_is_a_dead_letter_and_can_be_redriven(hosted, receiver):
    """It is a call as any other: listed, kept, and run again by an operator."""
    there = receiver((500, {}, b""), (500, {}, b""), (500, {}, b""), (204, {}, b""))
    with hosted(there.url) as host:
        host.submit("billing.charge", 7)
        dead = delivery_of(host)
        entry = entry_of(host, dead)
        assert (dead.status, entry.now.reason, entry.now.attempt) == ("dead", "attempts", 3)
        host.redrive(dead.id)
        assert dead.result(20.0) == {"status": 204}
    assert len({request.headers["webhook-id"] for request in there.requests}) == 1


def test_a_receiver_that_is_gone_gets_nothing_more_until_one_is_redriven(hosted, receiver):
    """Nothing is lost meanwhile: each is there as failed."""
    there = receiver((410, {}, b""), (204, {}, b""))
    with hosted(there.url) as host:
        host.submit("billing.charge", 1)
        delivery_of(host)
    with hosted(there.url) as host:  # it is remembered
        host.submit("billing.charge", 2)
        delivery_of(host, count=2)
        assert len(there.requests) == 1
        failed = list(host.submissions("deliveries.crm", status="failed"))
        assert len(failed) == 2
        for each in failed:
            host.redrive(each.id)
            assert each.result(20.0) == {"status": 204}
        host.submit("billing.charge", 3)
        assert json.loads(there.wait(4).body)["data"]["result"]["amount"] == 3


def test_a_result_that_is_redriven_is_told_again(hosted, receiver):
    """It is another one, under another id."""
    there, calls = receiver(), []

    def once() -> int:
        calls.append(1)
        if len(calls) == 1:
            raise Rejected("not yet")
        return len(calls)

    with hosted(there.url) as host:
        host.register("billing.once", once)
        handle = host.submit("billing.once")
        first = there.wait(1)
        delivery_of(host)
        host.redrive(handle.id)
        second = there.wait(2)
    assert [json.loads(each.body)["data"]["status"] for each in (first, second)] == ["failed", "succeeded"]
    assert first.headers["webhook-id"] != second.headers["webhook-id"]


# --- Who may ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mark", ["", "0" * 16, " ", "0000000000000000 1.0"])
def test_nobody_else_can_have_anything_sent(hosted, receiver, mark):
    """Whoever calls the function that sends does not know the call's mark."""
    there = receiver()
    with hosted(there.url) as host:
        other = host.submit("other.charge", 7)
        other.result(20.0)
        for identifier in (other.id, "0" * 32, "nonsense"):
            with pytest.raises(Rejected):
                host.call("deliveries.crm", {"call": identifier, "mark": mark})
    assert there.requests == []


def test_without_private_this_machine_is_refused(tmp_path, receiver, monkeypatch):
    """By what the name resolves to when it is sent; nothing is."""
    there, really = receiver(), socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda _, *others, **more: really("127.0.0.1", *others, **more))
    url = f"https://crm.example.com:{there.port}/hook"
    config = configured(tmp_path, url, **{"private = true": "private = false"})
    with Host.from_config(config, observers=()) as host:
        host.register("billing.charge", charge)
        host.submit("billing.charge", 1)
        handle = delivery_of(host)
        with pytest.raises(Rejected, match="no public address") as caught:
            handle.result(20.0)
        assert caught.value.code == "private_address"
    assert there.requests == []


# --- The configuration ------------------------------------------------------------------------------------------------


def test_without_a_store_that_lasts_there_are_none(tmp_path):
    """The error has the line to add."""
    config = configured(tmp_path, "http://127.0.0.1:1/", **{"sqlite:calls.db": "memory:"})
    with pytest.raises(ConfigError, match="no store that lasts"):
        Host.from_config(config, observers=())


def test_an_apply_changes_where_results_go(hosted, receiver, tmp_path):
    """Another address, another name, none."""
    first, second = receiver(), receiver()
    with no_leaks(), hosted(first.url) as host:
        host.submit("billing.charge", 1)
        first.wait(1)
        plan = host.apply(configured(tmp_path, second.url))
        assert [(change.kind, change.status) for change in plan.changes] == [("deliveries", "done")]
        assert NEW not in "\n".join(line for change in plan.changes for line in change.lines())
        host.submit("billing.charge", 2)
        second.wait(1)
        host.apply(configured(tmp_path, second.url, **{"[deliveries.crm]": "[deliveries.erp]"}))
        host.submit("billing.charge", 3)
        second.wait(2)
        assert "deliveries.crm" not in host.snapshot.functions
        text = '[store]\nurl = "sqlite:calls.db"\n'
        host.apply(parse_config(text.encode(), tmp_path / "jackfield.toml"))
        host.submit("billing.charge", 4).result(20.0)
        with pytest.raises(FunctionNotFound):
            host.describe("deliveries.erp")
    assert (len(first.requests), len(second.requests)) == (1, 2)


def test_results_of_deliveries_are_not_delivered(hosted, receiver, tmp_path):
    """Not even where everything is."""
    there = receiver()
    config = configured(tmp_path, there.url, **{'"billing.*", "shop.pay"': '"*"'})
    with Host.from_config(config, observers=()) as host:
        host.register("billing.charge", charge)
        host.submit("billing.charge", 1)
        delivery_of(host).result(20.0)
        host.submit("billing.charge", 2)
        there.wait(2)
        delivery_of(host, count=2).result(20.0)
        assert len([*host.submissions("deliveries.*")]) == 2


def test_a_result_is_kept_for_as_long_as_it_is_tried(tmp_path, receiver):
    """Be others kept for a second."""
    config = configured(tmp_path, receiver().url, **{"lazy = true": "lazy = true\n[durable]\nkeep = 1.0"})
    with Host.from_config(config, observers=()) as host:
        host.register("billing.charge", charge)
        handle = host.submit("billing.charge", 1)
        assert entry_of(host, handle).call.keep == 3 * 86_400.0


# --- Kills ------------------------------------------------------------------------------------------------------------

CHILD = """
import os, signal, sys
from jackfield import Host, function
from jackfield.durable.ledger import Ledger

where = sys.argv[1]
change = Ledger.change

async def killed(self, entry, state):
    if state.status.settled and entry.call.function == "billing.charge":
        if where == "before":
            await self._settling(entry, state)
            os.kill(os.getpid(), signal.SIGKILL)
        if where == "after":
            await change(self, entry, state)
            os.kill(os.getpid(), signal.SIGKILL)
    return await change(self, entry, state)

Ledger.change = killed

@function(idempotent=True)
def charge(amount: int) -> int:
    return amount

with Host.from_config("jackfield.toml", observers=()) as host:
    host.register("billing.charge", charge)
    if where != "again":
        host.submit("billing.charge", 7)
    print("ready", flush=True)
    sys.stdin.read()
"""


@pytest.mark.slow
@pytest.mark.parametrize("where", ["before", "after", "during"])
def test_a_kill_loses_no_delivery(tmp_path, receiver, where):
    """Before the result is settled, between that and the delivery, and while it is being sent."""
    held = Event()
    answer = (0, {}, lambda _: held.wait(60.0)) if where == "during" else (204, {}, b"")
    there = receiver(answer, (204, {}, b""))
    (tmp_path / "jackfield.toml").write_text(CONFIG.format(url=there.url))
    (tmp_path / "child.py").write_text(CHILD)

    def run(what):
        command = [sys.executable, "child.py", what]
        return subprocess.Popen(command, cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    first = run(where)
    try:
        if where == "during":
            there.wait(1, 60.0)
            os.kill(first.pid, signal.SIGKILL)
        assert first.wait(60) == -signal.SIGKILL
    finally:
        first.kill()
        first.communicate()
    second = run("again")
    try:
        request = there.wait(2 if where == "during" else 1, 60.0)
        assert json.loads(request.body)["data"]["result"] == 7
    finally:
        held.set()
        second.communicate("", timeout=60)
    ids = {request.headers["webhook-id"] for request in there.requests}
    assert len(ids) == 1
    assert second.returncode == 0
