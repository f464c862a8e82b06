"""The control verbs of a host in this process: what they do, what they answer, what they never give away."""

import json
import threading

import msgspec
import pytest

from jackfield import Analysis, FunctionNotFound, Host, PayloadError, PluginError, Rejected, Unavailable
from jackfield.control import IDLE
from jackfield.operations import verbs

SECRET = "correct-horse-battery-staple"  # noqa: S105  # what must not be shown

STORE = f"""
import threading
from jackfield import function

GO, HERE = threading.Event(), threading.Event()

class Store:
    def __init__(self):
        self.password = "{SECRET}"

@function
def get(key: str) -> str:
    return key.upper()

@function
def wait(payload: dict) -> str:
    local = payload
    HERE.set()
    GO.wait(30)
    return "done"

@function
def go() -> bool:
    HERE.wait(30)
    GO.set()
    return True

@function
def ready() -> bool:
    return HERE.wait(30)
"""


@pytest.fixture
def host(tmp_path):
    """A host with one plugin that runs and one that cannot."""
    (tmp_path / "store.py").write_text(STORE, encoding="utf-8")
    (tmp_path / "broken.py").write_text("import nothing_of_that_name", encoding="utf-8")
    config = tmp_path / "jackfield.toml"
    config.write_text(
        '[[plugin]]\nname = "store"\npath = "./store.py:Store"\nversion = "1.0"\n'
        f'options = {{ note = "{SECRET}" }}\n'
        '[[plugin]]\nname = "broken"\npath = "./broken.py"\n',
        encoding="utf-8",
    )
    with Host.from_config(config, observers=()) as host:
        yield host


@pytest.fixture
def ask(host):
    """How to ask it: as over a socket, where all that travels is plain data."""
    table = verbs(host, lambda: {"pid": 1})

    def ask(verb, **arguments):
        return msgspec.msgpack.decode(msgspec.msgpack.encode(table[verb](arguments)))

    ask.table = table
    return ask


def test_the_status_shows_what_runs_and_what_does_not(ask):
    """Plugins with their states and faults, beside what the process says of itself."""
    found = ask("status")
    assert (found["pid"], found["functions"], found["calls"]) == (1, 4, 0)
    plugins = {plugin["name"]: plugin for plugin in found["plugins"]}
    assert plugins["store"]["state"] == "running"
    assert "store.get" in plugins["store"]["functions"]
    assert plugins["broken"]["state"] == "failed"
    assert "nothing_of_that_name" in plugins["broken"]["fault"]["reason"]
    assert any("nothing_of_that_name" in fault["reason"] for fault in found["faults"])


def test_functions_are_called_and_plugins_stop_start_and_go(ask):
    """Each verb does what the host's method does, and answers with what became of it."""
    assert ask("call", name="store.get", payload="a", timeout=5) == "A"
    assert ask("stop", plugin="store")["state"] == "stopped"
    with pytest.raises(Unavailable, match="'store' is stopped"):
        ask("call", name="store.get", payload="a")
    assert ask("start", plugin="store")["state"] == "running"
    assert ask("restart", plugin="store")["state"] == "running"
    with pytest.raises(PluginError, match="nothing_of_that_name"):
        ask("start", plugin="broken")
    report = ask("unload", plugin="store")
    assert report["clean"]
    assert report["released"]["code"] == 1
    assert [route["name"] for route in ask("routes")] == []


@pytest.mark.parametrize(
    ("verb", "arguments", "path"),
    [
        ("start", {}, "plugin"),
        ("start", {"plugin": 3}, "plugin"),
        ("start", {"plugin": "store", "hard": True}, "hard"),
        ("status", {"x": 1}, "x"),
        ("rollback", {"revision": "one"}, "revision"),
        ("canary_start", {"name": "store.get", "version": "1", "analysis": {"looks": 0}}, "analysis"),
    ],
)
def test_arguments_that_do_not_fit_are_named(ask, verb, arguments, path):
    """Before anything is done."""
    with pytest.raises(PayloadError, match=rf"control\.{verb}.*{path}"):
        ask(verb, **arguments)


def test_a_version_is_chosen_tried_promoted_and_rolled_back(host, ask):
    """Routes and canaries by their verbs; each change is a revision."""
    host.register("shout", str.upper, version="1")
    host.register("shout", str.lower, version="2")
    before = host.snapshot.revision
    assert [each["version"] for each in ask("routes", pattern="shou*")[0]["versions"]] == ["1", "2"]
    assert ask("reroute", name="shout", default="2")["default"] == "2"
    assert host.call("shout", "Aa") == "aa"
    assert ask("rollback", revision=before)["revision"] == host.snapshot.revision
    assert host.call("shout", "Aa") == "AA"

    begun = ask("canary_start", name="shout", version="2", share=0.25, tenants=["t-1"])
    assert (begun["state"], begun["share"], begun["tenants"]) == ("running", 0.25, ["t-1"])
    assert ask("routes", pattern="shout")[0]["split"]["shares"] == {"2": 0.25}
    with pytest.raises(PluginError, match="under trial"):
        ask("reroute", name="shout", default="2")
    assert ask("canary_ramp", name="shout", share=0.5)["share"] == 0.5
    assert ask("canary_promote", name="shout")["state"] == "promoted"
    assert host.call("shout", "Aa") == "aa"
    ask("canary_start", name="shout", version="1", share=0.5, analysis={"steps": []})
    assert ask("canary_abort", name="shout")["state"] == "aborted"
    assert [each["state"] for each in ask("canary_list")][-1] == "aborted"
    with pytest.raises(PluginError, match="has ended"):
        ask("canary_promote", name="shout")


def test_what_is_not_there_is_said_with_what_is(host, ask):
    """A revision, a version, a function, a canary, a share that is none."""
    host.register("shout", str.upper, version="1")
    host.register("shout", str.lower, version="2")
    with pytest.raises(Rejected, match="revision 999 is not kept") as raised:
        ask("rollback", revision=999)
    assert raised.value.code == "not_kept"
    with pytest.raises(FunctionNotFound, match="there are: 1, 2"):
        ask("reroute", name="shout", default="3")
    with pytest.raises(FunctionNotFound, match="'shout'"):
        ask("reroute", name="shoot", default="3")
    with pytest.raises(FunctionNotFound):
        ask("routes", pattern="shoot")
    with pytest.raises(PluginError, match="no canary"):
        ask("canary_abort", name="shout")
    for verb, more in (("canary_start", {"version": "2"}), ("canary_ramp", {})):
        with pytest.raises(Rejected, match=r"20 % is 0\.2"):
            ask(verb, name="shout", share=1.4, **more)
        if verb == "canary_start":
            ask(verb, name="shout", version="2", share=0.1)


def test_an_analysis_is_taken_as_it_is_written(host, ask):
    """Its fields by name; the canary goes to its first step."""
    host.register("shout", str.upper, version="1")
    host.register("shout", str.lower, version="2")
    assert ask("canary_start", name="shout", version="2", analysis={})["share"] == Analysis().steps[0]
    ask("canary_abort", name="shout")


def test_events_are_kept_and_followed_in_order(host, ask):
    """What was before, then what comes; a function by its key; what plugins publish is theirs."""
    kept = list(ask.table["events"]({}))
    assert {"PluginStarted", "FunctionRegistered"} >= {each["event"] for each in kept} - {
        "PluginFailed",
        "PluginStateChanged",
    }
    follower = ask.table["events"]({"follow": True})
    assert [next(follower) for _ in kept] == kept
    host.register("one", str.upper, version="1")
    host.register("two", str.upper, version="1")
    host.unregister("one")
    new = []
    while len(new) < 3:
        if (event := next(follower)) is not IDLE:
            new.append(event)
    follower.close()
    assert [(each["event"], each["function"]) for each in new] == [
        ("FunctionRegistered", "one@1"),
        ("FunctionRegistered", "two@1"),
        ("FunctionUnregistered", "one@1"),
    ]
    assert [each["revision"] for each in new] == sorted(each["revision"] for each in new)


def test_a_dump_has_all_of_the_state_and_no_value(host, ask):
    """A call in flight is there with its tenant and what it has left; payloads, options and variables are not."""
    payload = {"password": SECRET}
    options = {"timeout": 60, "tenant": "t-7", "headers": {"authorization": SECRET}}
    caller = threading.Thread(target=lambda: host.call("store.wait", payload, **options))
    caller.start()
    try:
        host.call("store.ready")
        dump = ask("dump_state")
    finally:
        host.call("store.go")
        caller.join()
    (call,) = dump["in_flight"]
    assert (call["function"], call["version"], call["tenant"]) == ("store.wait", "1.0", "t-7")
    assert 0 < call["seconds_left"] <= 60
    assert [plugin["calls"] for plugin in dump["plugins"] if plugin["name"] == "store"] == [1]
    assert dump["revisions"][-1] == dump["revision"]
    assert {route["name"] for route in dump["routes"]} == {"store.get", "store.wait", "store.go", "store.ready"}
    assert dump["ledgers"]["store"]["code"] == 1
    assert "thread" in dump["executors"]
    assert all({"pending", "lagging", "handler"} <= each.keys() for each in dump["subscriptions"])
    stacks = {thread["name"]: thread["stack"] for thread in dump["threads"]}
    assert any("store.py" in line and line.endswith(" wait") for line in stacks[caller.name])
    assert SECRET not in json.dumps(dump)


def test_a_call_inside_a_replaced_version_is_still_seen(host):
    """Until it leaves."""
    here, go = threading.Event(), threading.Event()

    def hold():
        here.set()
        go.wait(30)

    registration = host.register("hold", hold)
    caller = threading.Thread(target=host.call, args=("hold",))
    caller.start()
    assert here.wait(30)
    registration.remove()
    assert [call.name for call in host.calls] == ["hold"]
    go.set()
    caller.join()
    assert host.calls == ()


def test_the_dump_of_a_host_that_is_not_started_works():
    """An operator looks at what does not start, above all."""
    host = Host(observers=())
    dump = verbs(host)["dump_state"]({})
    assert dump["in_flight"] == []
