"""Tenants at the HTTP door: whom a request is of, what they may do, and what of others they see."""

import asyncio
import io
from time import monotonic

import httpx
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased, TraceIdRatioBased

from jackfield import Host, current_call
from jackfield.config import HttpDoorConfig
from jackfield.identity import digest_of, new_key
from jackfield.log import install
from jackfield.observe.logs import Logs
from jackfield.observe.spans import Spans
from jackfield.testing import no_leaks
from jackfield_contrib.http import asgi
from jackfield_contrib.http.door import HttpDoor
from jackfield_contrib.identity import retraced

ALICE, BOB, ROOT, NEXT = (new_key() for _ in range(4))
TENANTS = f"""
[tenants.alice]
keys = ["{digest_of(ALICE)}"]
permissions = ["math.*", "seen"]
versions = true
rate = 1000.0
[tenants.bob]
keys = ["{digest_of(BOB)}"]
rate = 1.0
[tenants.root]
keys = ["{digest_of(ROOT)}"]
operator = true
trace = true
"""
FAR = ("198.51.100.7", 40_000)


def add(a: int, b: int) -> int:
    return a + b


def add_twice(a: int, b: int) -> int:
    return 2 * (a + b)


def seen() -> list:
    call = current_call()
    return [call.tenant, dict(call.headers)]


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "jackfield.toml"
    path.write_text(f'[store]\nurl = "sqlite:kept.db"\n{TENANTS}')
    return path


@pytest.fixture
def host(file):
    with no_leaks(), Host.from_config(file, observers=()) as made:
        made.register("math.add", add, version="1")
        made.register("math.add", add_twice, version="2")
        made.register("seen", seen)
        made.register("secret.all", seen)
        yield made


@pytest.fixture
def ask(host):
    """Make one request of the application, as somebody from elsewhere."""
    app = asgi(host)

    def request(method, path, key=None, *, client=FAR, headers=(), **more):
        async def once():
            said = [*([("authorization", f"Bearer {key}")] if key else []), *headers]
            transport = httpx.ASGITransport(app, client=client)
            async with httpx.AsyncClient(transport=transport, base_url="http://door") as asking:
                return await asking.request(method, path, headers=said, **more)

        return asyncio.run(once())

    return request


def test_a_key_says_whose_a_request_is(ask):
    """The tenant is in the call; the key is not."""
    tenant, headers = ask("POST", "/v1/functions/seen", ALICE).json()
    assert tenant == "alice"
    assert not [name for name in headers if "auth" in name.lower()]


@pytest.mark.parametrize(
    "said",
    [
        [],
        [("authorization", "Bearer")],
        [("authorization", "Bearer ")],
        [("authorization", f"Bearer {ALICE}x")],
        [("authorization", f"Bearer {ALICE[:-1]}")],
        [("authorization", f"Bearer {digest_of(ALICE)}")],
        [("authorization", f"Bearer {ALICE} {ALICE}")],
        [("authorization", f"Basic {ALICE}")],
        [("authorization", ALICE)],
        [("authorization", "Bearer " + "x" * 20_000)],
        [("authorization", f"Bearer {ALICE}"), ("authorization", f"Bearer {BOB}")],
        [("authorization", f"Bearer {ALICE}"), ("authorization", f"Bearer {ALICE}")],
        [("x-tenant", "alice")],
    ],
)
def test_what_is_no_key_gets_one_answer_whatever_is_wrong(ask, said):
    """Who tries keys learns nothing from it, nor from how a function is called that there is or is not."""
    first = ask("POST", "/v1/functions/seen", headers=[("authorization", "Bearer guess")])
    assert (first.status_code, first.headers["www-authenticate"]) == (401, "Bearer")
    for path in ("/v1/functions/seen", "/v1/functions/nothing", "/v1/calls:batch", "/v1/submit/seen", "/nowhere"):
        answer = ask("POST", path, headers=said)
        assert (answer.status_code, answer.content) == (401, first.content)
        assert answer.headers == first.headers


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "Bearer "])
def test_the_word_bearer_has_no_case(ask, scheme):
    """RFC 9110, section 11.1."""
    answer = ask("POST", "/v1/functions/seen", headers=[("authorization", f"{scheme} {ALICE} ")])
    assert answer.json()[0] == "alice"


def test_a_tenant_calls_what_its_permissions_name(ask):
    """Another function is forbidden, and not shown."""
    assert ask("POST", "/v1/functions/math.add", ALICE, json={"a": 1, "b": 2}).json() == 3
    refused = ask("POST", "/v1/functions/secret.all", ALICE)
    assert (refused.status_code, refused.json()["outcome"]) == (403, "permission_denied")
    submitted = ask("POST", "/v1/submit/secret.all", ALICE)
    assert (submitted.status_code, submitted.json()["outcome"]) == (403, "permission_denied")
    batch = ask("POST", "/v1/calls:batch", ALICE, json=[{"function": "secret.all"}, {"function": "seen"}]).json()
    assert batch[0]["status"] == 403
    assert batch[1]["result"][0] == "alice"
    assert [row["name"] for row in ask("GET", "/v1/functions", ALICE).json()] == ["math.add", "seen"]


def test_a_version_is_picked_by_those_who_may(ask):
    """By the header."""
    pick = {"headers": [("X-Version", "2")], "json": {"a": 1, "b": 2}}
    assert ask("POST", "/v1/functions/math.add", ALICE, **pick).json() == 6
    refused = ask("POST", "/v1/functions/math.add", ROOT, **pick)
    assert (refused.status_code, refused.json()["outcome"]) == (403, "permission_denied")


def test_who_calls_too_often_is_told_when_to_come_again(ask):
    """In seconds."""
    answers = [ask("POST", "/v1/functions/seen", BOB) for _ in range(3)]
    last = answers[-1]
    assert [answer.status_code for answer in answers].count(429) >= 1
    assert last.json()["outcome"] == "resource_exhausted"
    assert 1 <= int(last.headers["retry-after"]) <= 60


def test_keys_change_with_an_apply(host, file, ask):
    """Both are good while they stand there; what is taken out is good for nothing from then on."""

    def apply(*keys):
        said = ", ".join(f'"{digest_of(key)}"' for key in keys)
        file.write_text(TENANTS.replace(f'"{digest_of(ALICE)}"', said, 1) + '\n[store]\nurl = "sqlite:kept.db"\n')
        assert host.apply(file).changes

    apply(ALICE, NEXT)
    assert [ask("POST", "/v1/functions/seen", key).json()[0] for key in (ALICE, NEXT)] == ["alice", "alice"]
    apply(NEXT)
    assert [ask("POST", "/v1/functions/seen", key).status_code for key in (ALICE, NEXT)] == [401, 200]


def test_metrics_are_for_operators_and_this_machine(ask):
    """Others are told so."""
    statuses = [ask("GET", "/metrics", key).status_code for key in (None, ALICE, ROOT)]
    assert statuses == [401, 403, 200]
    assert ask("GET", "/metrics", client=("127.0.0.1", 1)).status_code == 200
    assert [ask("GET", path).status_code for path in ("/healthz", "/readyz")] == [200, 200]


def test_what_is_submitted_is_there_for_its_tenant_and_operators(ask):
    """For others there is no such call."""
    place = ask("POST", "/v1/submit/seen", ALICE).headers["location"]
    until = monotonic() + 60
    while ask("GET", place, ROOT).json()["status"] != "succeeded":
        assert monotonic() < until
    assert ask("GET", place, ALICE).json()["result"][0] == "alice"
    listed = {key: [row["function"] for row in ask("GET", "/v1/calls", key).json()] for key in (ALICE, BOB, ROOT)}
    assert listed == {ALICE: ["seen"], BOB: [], ROOT: ["seen"]}
    for method in ("GET", "DELETE"):
        hidden = ask(method, place, BOB)
        assert hidden.status_code == 404
        assert hidden.json() == ask(method, "/v1/calls/" + "0" * 32, BOB).json()


def test_where_strangers_come_nobody_is_let_in_though_the_tenants_have_gone(host, file, ask):
    """A door that others can reach stays where it is when an apply takes all tenants away."""
    open_to_all, closed = asgi(host), asgi(host, strangers=True)

    def status(app, path="/v1/functions/seen"):
        async def once():
            transport = httpx.ASGITransport(app, client=FAR)
            async with httpx.AsyncClient(transport=transport, base_url="http://door") as asking:
                return (await asking.post(path)).status_code

        return asyncio.run(once())

    assert [status(app) for app in (open_to_all, closed)] == [401, 401]
    file.write_text('[store]\nurl = "sqlite:kept.db"\n')
    host.apply(file)
    assert [status(app) for app in (open_to_all, closed)] == [200, 401]
    assert ask("POST", "/v1/functions/seen", ALICE).json()[0] is None


def test_no_credential_is_in_a_span_a_record_or_an_error(file):
    """Whatever is observed, and whatever goes wrong."""
    exporter, lines = InMemorySpanExporter(), io.StringIO()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    said = []
    remove = install(lambda message: said.append(repr(message)))
    with Host.from_config(file, observers=(Spans(provider), Logs(lines, messages=True))) as host:
        host.register("seen", seen)
        host.register("crash", lambda: 1 // 0)
        application = asgi(host)

        async def all_at_once():
            transport = httpx.ASGITransport(application, client=FAR)
            async with httpx.AsyncClient(transport=transport, base_url="http://door") as asking:
                return [
                    (await asking.post(f"/v1/functions/{name}", headers={"authorization": f"Bearer {key}"})).text
                    for key in (ALICE, ALICE + "x", ROOT)
                    for name in ("seen", "crash", "nothing")
                ]

        texts = asyncio.run(all_at_once())
        shown = repr((host, host.snapshot, host.configuration, host.calls, application))
    remove()
    spans = [span.to_json() for span in exporter.get_finished_spans()]
    assert len(spans) >= 4
    for text in (*texts, *spans, *said, lines.getvalue(), shown):
        assert ALICE not in text
        assert ROOT not in text


# --- What was denied --------------------------------------------------------------------------------------------------


@pytest.fixture
def records():
    """What is recorded for an audit."""
    messages = []
    remove = install(messages.append)
    yield lambda: [(one.event, dict(one.fields)) for one in messages if one.event != "log"]
    remove()


def test_each_denied_call_has_one_record(ask, records):
    """However it was asked for; what is allowed has none."""
    ask("POST", "/v1/functions/seen", ALICE)
    ask("POST", "/v1/functions/nothing.here", ROOT)
    assert records() == []
    ask("POST", "/v1/functions/secret.all", ALICE)
    ask("POST", "/v1/submit/secret.all", ALICE)
    ask("POST", "/v1/calls:batch", ALICE, json=[{"function": "secret.all"}, {"function": "seen"}])
    ask("POST", "/v1/functions/math.add", ROOT, headers=[("x-version", "2")], json={"a": 1, "b": 2})
    found = records()
    assert [event for event, _ in found] == ["denied"] * 4
    assert [fields["tenant"] for _, fields in found] == ["alice"] * 3 + ["root"]
    assert {fields["func_name"] for _, fields in found} == {"secret.all", "math.add"}
    assert {(fields["door"], fields["client"]) for _, fields in found} == {("http", FAR[0])}


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ([], "it has none"),
        ([("authorization", f"Bearer {ALICE}x")], "nobody has this key"),
        ([("authorization", f"Basic {ALICE}")], "it is no bearer token"),
        ([("authorization", f"Bearer {ALICE}"), ("authorization", f"Bearer {BOB}")], "it is no bearer token"),
        ([("authorization", "Bearer " + "x" * 20_000)], "it has more than 8,192 bytes"),
    ],
)
def test_each_refused_credential_has_one_record_that_says_why(ask, records, said, reason):
    """For the operator; not for whoever tries."""
    ask("POST", "/v1/functions/seen", headers=said)
    assert records() == [("refused", {"reason": reason, "door": "http", "client": FAR[0]})]


# --- Traces -----------------------------------------------------------------------------------------------------------

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.fixture
def sampler(monkeypatch):
    """Have the process sample so."""

    def use(made):
        monkeypatch.setattr(trace, "_TRACER_PROVIDER", TracerProvider(sampler=made))

    return use


@pytest.mark.parametrize(
    ("sampling", "said", "counts"),
    [
        (ALWAYS_ON, "00", "01"),
        (ALWAYS_ON, "01", "01"),
        (ALWAYS_OFF, "01", "00"),
        (ParentBased(ALWAYS_OFF), "01", "00"),
        (ParentBased(ALWAYS_ON), "00", "01"),
        (ParentBased(TraceIdRatioBased(0.0)), "01", "00"),
    ],
)
def test_of_a_strangers_trace_the_id_counts_and_the_flag_does_not(ask, sampler, sampling, said, counts):
    """The host's own sampler decides, as if the trace began here; of those with `trace = true` the flag counts."""
    sampler(sampling)
    header = [("traceparent", f"00-{TRACE}-{SPAN}-{said}")]
    assert ask("POST", "/v1/functions/seen", ALICE, headers=header).json()[1]["traceparent"] == (
        f"00-{TRACE}-{SPAN}-{counts}"
    )
    assert ask("POST", "/v1/functions/seen", ROOT, headers=header).json()[1]["traceparent"] == header[0][1]


@pytest.mark.parametrize("odd", [b"", b"00", b"00-" + b"x" * 60, b"\xff" * 55])
def test_what_is_no_traceparent_stays_one(odd):
    """Nobody will read it."""
    assert retraced(odd) == odd


def test_a_connection_is_whose_key_it_sends_now(tmp_path):
    """What a connection is remembered by counts for the same key alone, and until an apply takes the key away."""
    file = tmp_path / "jackfield.toml"
    file.write_text(TENANTS)
    with Host.from_config(file) as host:
        host.register("seen", seen)
        door = HttpDoor(host, HttpDoorConfig(port=0))
        host.run_at_home(door.open(), 20.0)
        try:
            with httpx.Client(base_url=door.address, limits=httpx.Limits(max_connections=1), timeout=60) as client:

                def whose(key):
                    answer = client.post("/v1/functions/seen", headers={"authorization": f"Bearer {key}"})
                    return answer.json()[0] if answer.status_code == 200 else answer.status_code

                assert [whose(key) for key in (ALICE, ALICE, ROOT, ALICE, "jf_nobody", ALICE)] == [
                    "alice", "alice", "root", "alice", 401, "alice",
                ]  # fmt: skip
                file.write_text(TENANTS.replace(digest_of(ALICE), digest_of(NEXT)))
                assert host.apply(file).changes
                assert [whose(key) for key in (ALICE, NEXT)] == [401, "alice"]
                assert door.stats()["connections"] == 1
        finally:
            host.run_at_home(door.close(0.0), 30.0)
