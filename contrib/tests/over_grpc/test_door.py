"""The door: where it listens, whom it lets in, and how it closes."""

import asyncio
import gc
import hashlib
import json
import signal
import subprocess
import sys
import threading

import grpc
import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from google.rpc.error_details_pb2 import ErrorInfo
from grpc_health.v1 import health_pb2, health_pb2_grpc
from support_grpc import FUNCTIONS, LIMIT, failed, target, told, unpacked

from jackfield import Host
from jackfield.errors import Unavailable
from jackfield.log import install
from jackfield_contrib.grpc import Bounds, Functions
from jackfield_contrib.grpc.functions_pb2 import Call, Calls
from jackfield_contrib.grpc.functions_pb2_grpc import FunctionsStub

SUM = Call(function="math.add", payload=b'{"a": 1, "b": 2}')
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


# --- Where it listens -------------------------------------------------------------------------------------------------


def test_a_port_that_is_taken_is_named(opened):
    """With what would help: two processes do not share one by accident."""
    port = int(opened().address.rpartition(":")[2])
    with pytest.raises(Unavailable, match="choose another port"):
        opened({"port": port})


def test_beyond_loopback_it_does_not_listen_without_tenants(opened):
    """Whoever embeds a host is told, too."""
    with pytest.raises(Unavailable, match=r"declare who may call under \[tenants\]"):
        opened({"host": "0.0.0.0"})  # noqa: S104


def test_it_listens_on_ipv6(opened, connect):
    """Where there is one."""
    try:
        door = opened({"host": "::1"})
    except Unavailable:
        pytest.skip("no IPv6 here")
    assert door.address.startswith("grpc://[::1]:")
    assert FunctionsStub(connect(door)).Invoke(SUM, timeout=LIMIT).result == b"3"


def test_an_embedder_has_the_service_in_a_server_of_its_own(host):
    """On another event loop than the host's."""

    async def serve():
        server = grpc.aio.server()
        Functions(host).add_to(server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                stub = FunctionsStub(channel)
                alone = await stub.Invoke(SUM, timeout=LIMIT)
                session = stub.Session(timeout=LIMIT)
                await session.write(Calls(calls=[SUM]))
                await session.done_writing()
                message = await session.read()
                assert await session.read() is grpc.aio.EOF
                return alone.result, [reply.result for reply in message.replies]
        finally:
            await server.stop(None)

    assert asyncio.run(serve()) == (b"3", [b"3"])


# --- TLS --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def certificate(authority, tmp_path):
    """Write a certificate; give the settings of a door that has it."""
    made = authority.issue_cert("127.0.0.1", "localhost")
    made.private_key_pem.write_to_path(tmp_path / "key.pem")
    for number, blob in enumerate(made.cert_chain_pems):
        blob.write_to_path(tmp_path / "cert.pem", append=number > 0)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return {"tls_cert": str(tmp_path / "cert.pem"), "tls_key": str(tmp_path / "key.pem")}


def secured(door, authority, client=None):
    chain = b"".join(blob.bytes() for blob in client.cert_chain_pems) if client else None
    key = client.private_key_pem.bytes() if client else None
    credentials = grpc.ssl_channel_credentials(authority.cert_pem.bytes(), key, chain)
    return grpc.secure_channel(target(door), credentials)


def test_it_speaks_tls(opened, certificate, authority):
    """Whoever does not is not let in."""
    door = opened(certificate)
    assert door.address.startswith("grpcs://127.0.0.1:")
    with secured(door, authority) as channel:
        assert FunctionsStub(channel).Invoke(SUM, timeout=LIMIT).result == b"3"
    with grpc.insecure_channel(target(door)) as channel, pytest.raises(grpc.RpcError) as caught:
        FunctionsStub(channel).Invoke(SUM, timeout=LIMIT)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def test_clients_show_a_certificate_where_they_have_to(opened, certificate, authority, tmp_path):
    """Of the authority that the door has."""
    door = opened({**certificate, "client_ca": str(tmp_path / "ca.pem")})
    with secured(door, authority, authority.issue_cert("client.example", common_name="billing")) as channel:
        assert FunctionsStub(channel).Invoke(SUM, timeout=LIMIT).result == b"3"
    stranger = trustme.CA().issue_cert("client.example")
    for client in (None, stranger):
        with secured(door, authority, client) as channel, pytest.raises(grpc.RpcError) as caught:
            FunctionsStub(channel).Invoke(SUM, timeout=LIMIT)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def test_a_certificate_that_is_renewed_is_the_next_connections(opened, certificate, authority, tmp_path):
    """Without a restart; one that is half written is not taken."""
    door = opened(certificate)
    with secured(door, authority) as channel:
        assert FunctionsStub(channel).Invoke(SUM, timeout=LIMIT).result == b"3"
    renewed = trustme.CA()
    made = renewed.issue_cert("127.0.0.1")
    (tmp_path / "cert.pem").write_bytes(b"half")
    with secured(door, authority) as channel:
        assert FunctionsStub(channel).Invoke(SUM, timeout=LIMIT).result == b"3"
    made.private_key_pem.write_to_path(tmp_path / "key.pem")
    made.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    with secured(door, renewed) as channel:
        assert FunctionsStub(channel).Invoke(SUM, timeout=LIMIT).result == b"3"
    with secured(door, authority) as channel, pytest.raises(grpc.RpcError) as caught:
        FunctionsStub(channel).Invoke(SUM, timeout=LIMIT)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def test_a_certificate_that_cannot_be_used_is_told_of_once(opened, certificate, authority, tmp_path):
    """However many connect meanwhile: strangers may."""
    door = opened(certificate)
    said = []
    remove = install(said.append)
    (tmp_path / "cert.pem").write_bytes(b"half")
    for _ in range(3):
        with secured(door, authority) as channel:
            assert FunctionsStub(channel).Invoke(SUM, timeout=LIMIT).result == b"3"
    remove()
    assert len([one for one in said if "cannot be used" in one.text]) == 1


@pytest.mark.parametrize("says", [b"", b"no certificate"])
def test_a_certificate_that_is_none_is_told_when_it_opens(opened, certificate, tmp_path, says):
    """Not when the first client comes."""
    (tmp_path / "cert.pem").write_bytes(says)
    with pytest.raises(Unavailable, match="certificate"):
        opened(certificate)


def test_nobody_is_asked_for_the_passphrase_of_a_key(opened, certificate, tmp_path):
    """The door does not open: whoever starts it may have no terminal."""
    made = ec.generate_private_key(ec.SECP256R1())
    secret = made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    (tmp_path / "key.pem").write_bytes(secret)
    with pytest.raises(Unavailable, match=r"key\.pem cannot be used: .*passphrase"):
        opened(certificate)


# --- Whom it lets in --------------------------------------------------------------------------------------------------

KEYS = {"t": "jf_secret-of-t", "u": "jf_secret-of-u"}


@pytest.fixture
def closed(tmp_path, opened, connect):
    """Have a door of a host with two tenants, of whom one may do sums alone; give a stub."""
    digests = {name: hashlib.sha256(key.encode()).hexdigest() for name, key in KEYS.items()}
    text = "".join(f'[tenants.{name}]\nkeys = ["sha256:{digest}"]\n' for name, digest in digests.items())
    text = text.replace("[tenants.t]\n", '[tenants.t]\npermissions = ["math.*", "headers"]\n')
    file = tmp_path / "jackfield.toml"
    file.write_text(text.replace("[tenants.u]\n", "[tenants.u]\nversions = true\ntrace = true\n"))
    with Host.from_config(file, observers=()) as made:
        for name, function in FUNCTIONS.items():
            made.register(name, function, version="1")
        made.register("math.add", lambda a, b: 99, version="2")
        door = opened(host=made)
        yield FunctionsStub(connect(door))
        made.run_at_home(door.close(0.0), LIMIT)
        gc.collect()


def key_of(tenant):
    return [("authorization", f"Bearer {KEYS[tenant]}")]


@pytest.mark.parametrize(
    "metadata", [[], [("authorization", "Bearer wrong")], [*key_of("t"), *key_of("u")], [("authorization", "Basic x")]]
)
def test_nobody_calls_without_being_a_tenant(closed, metadata):
    """Whichever RPC it is; of two credentials none counts."""
    for function, message in ((closed.Invoke, SUM), (closed.InvokeBatch, Calls(calls=[SUM]))):
        code, _, details = failed(function, message, metadata=metadata)
        assert (code, details) == ("UNAUTHENTICATED", {})
    with pytest.raises(grpc.RpcError) as caught:
        next(closed.Session(iter([Calls(calls=[SUM])]), metadata=metadata, timeout=LIMIT))
    assert told(caught.value)[0] == "UNAUTHENTICATED"


def test_a_tenant_calls_what_it_may(closed):
    """In every RPC."""
    assert closed.Invoke(SUM, metadata=key_of("t"), timeout=LIMIT).result == b"3"
    code, _, details = failed(closed.Invoke, Call(function="crash"), metadata=key_of("t"))
    assert (code, details[ErrorInfo].reason) == ("PERMISSION_DENIED", "PERMISSION_DENIED")
    calls = Calls(calls=[SUM, Call(id=1, function="crash")])
    for replies in (
        closed.InvokeBatch(calls, metadata=key_of("t"), timeout=LIMIT).replies,
        [each for part in closed.Session(iter([calls]), metadata=key_of("t"), timeout=LIMIT) for each in part.replies],
    ):
        assert {each.id: each.error.code for each in replies} == {0: 0, 1: 7}


def test_who_may_not_pick_versions_does_not(closed):
    """However it says which."""
    picked = [Call(id=1, **_fields(SUM), version="2"), Call(id=2, **_fields(SUM), headers={"x-version": "2"})]
    for tenant, codes, results in (("t", [7, 7], [b"", b""]), ("u", [0, 0], [b"99", b"99"])):
        replies = closed.InvokeBatch(Calls(calls=picked), metadata=key_of(tenant), timeout=LIMIT).replies
        assert [each.error.code for each in replies] == codes
        assert [each.result for each in replies] == results


def _fields(call):
    return {"function": call.function, "payload": call.payload}


def test_the_wish_of_strangers_to_be_recorded_does_not_count(closed):
    """Their trace's id does; the wish of whom the file says so of counts."""
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    for tenant, flag in (("t", b"-00"), ("u", b"-01")):
        own = Call(function="headers", headers={"traceparent": trace})
        around = [*key_of(tenant), ("traceparent", trace)]
        for call, metadata in ((own, key_of(tenant)), (Call(function="headers"), around)):
            result = closed.Invoke(call, metadata=metadata, timeout=LIMIT).result
            assert result.removesuffix(b'"}').endswith(b"b7ad6b7169203331" + flag)


def test_a_certificate_says_whose_a_call_is(certificate, authority, opened, tmp_path):
    """Unless a key says otherwise; the subject is that of the configuration however it is written."""
    client = authority.issue_cert("client.example", common_name="billing", organization_name="Grüße, AG")
    subject = x509.load_pem_x509_certificate(client.cert_chain_pems[0].bytes()).subject.rfc4514_string()
    other = authority.issue_cert("client.example", common_name="somebody")
    digest = hashlib.sha256(KEYS["t"].encode()).hexdigest()
    file = tmp_path / "jackfield.toml"
    file.write_text(
        f"[tenants.billing]\nsubjects = [{json.dumps(subject)}]\n"
        f'[tenants.t]\npermissions = ["headers"]\nkeys = ["sha256:{digest}"]\n'
    )
    with Host.from_config(file, observers=()) as made:
        made.register("math.add", FUNCTIONS["math.add"])
        door = opened({**certificate, "client_ca": str(tmp_path / "ca.pem")}, host=made)
        with secured(door, authority, client) as channel:
            stub = FunctionsStub(channel)
            assert stub.Invoke(SUM, timeout=LIMIT).result == b"3"
            assert failed(stub.Invoke, SUM, metadata=key_of("t"))[0] == "PERMISSION_DENIED"
        with secured(door, authority, other) as channel:
            assert failed(FunctionsStub(channel).Invoke, SUM)[0] == "UNAUTHENTICATED"
        made.run_at_home(door.close(0.0), LIMIT)


# --- Health -----------------------------------------------------------------------------------------------------------


def test_health_is_the_hosts(channel):
    """Of the whole server and of each service; of others nothing is known."""
    health = health_pb2_grpc.HealthStub(channel)
    for service in ("", "jackfield.v1.Functions", "grpc.health.v1.Health"):
        answer = health.Check(health_pb2.HealthCheckRequest(service=service), timeout=LIMIT)
        assert answer.status == SERVING
    with pytest.raises(grpc.RpcError) as caught:
        health.Check(health_pb2.HealthCheckRequest(service="none"), timeout=LIMIT)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_who_watches_is_told_when_the_door_closes(host, opened, connect):
    """Before it does: load balancers send nothing more."""
    door = opened()
    watched = health_pb2_grpc.HealthStub(connect(door)).Watch(health_pb2.HealthCheckRequest(), timeout=LIMIT)
    assert next(watched).status == SERVING
    closing = threading.Thread(target=lambda: host.run_at_home(door.close(LIMIT), 2 * LIMIT))
    closing.start()
    assert next(watched).status == NOT_SERVING
    watched.cancel()
    closing.join(LIMIT)
    assert not closing.is_alive()


# --- How it closes ----------------------------------------------------------------------------------------------------


def test_closing_lets_what_is_under_way_end(host, opened, connect, waits, talk):
    """Single calls and those of sessions, which then end; and new clients find nobody."""
    door = opened()
    future = FunctionsStub(connect(door)).Invoke.future(Call(function="waits"), timeout=LIMIT)
    session = talk(door)
    session.say(Call(id=1, function="waits"))
    for _ in range(2):
        assert waits.begun.acquire(timeout=LIMIT)
    closing = threading.Thread(target=lambda: host.run_at_home(door.close(LIMIT), 2 * LIMIT))
    closing.start()
    with grpc.insecure_channel(target(door)) as late:
        while failed_with(late) is not grpc.StatusCode.UNAVAILABLE:
            pass
    waits.let_go(host)
    assert future.result(LIMIT).result == b'"done "'
    assert session.hear(1)[1].result == b'"done "'
    with pytest.raises(grpc.RpcError) as caught:
        next(session.stream)
    code, _, details = told(caught.value)
    assert (code, details[ErrorInfo].reason) == ("UNAVAILABLE", "DRAINING")
    closing.join(LIMIT)
    assert not closing.is_alive()


def failed_with(channel):
    try:
        FunctionsStub(channel).Invoke(SUM, timeout=LIMIT)
    except grpc.RpcError as error:
        return error.code()


def test_what_a_session_sends_while_the_door_closes_is_not_begun(host, opened, connect, waits, talk):
    """It is answered so, and the status of the stream says so of what came too late for that."""
    door = opened()
    watched = health_pb2_grpc.HealthStub(connect(door)).Watch(health_pb2.HealthCheckRequest(), timeout=LIMIT)
    assert next(watched).status == SERVING
    session = talk(door)
    session.say(Call(id=1, function="waits"))
    assert waits.begun.acquire(timeout=LIMIT)
    closing = threading.Thread(target=lambda: host.run_at_home(door.close(LIMIT), 2 * LIMIT))
    closing.start()
    assert next(watched).status == NOT_SERVING
    watched.cancel()
    assert next(session.stream).draining
    session.say(Call(id=2, function="waits"))
    late = session.hear(1)[2].error
    assert unpacked(late)[ErrorInfo].metadata["ran"] == "false"
    waits.let_go(host)
    assert session.hear(1).keys() == {1}
    with pytest.raises(grpc.RpcError) as caught:
        next(session.stream)
    assert told(caught.value)[2][ErrorInfo].metadata == {"ran": "false"}
    closing.join(LIMIT)
    assert not waits.begun.acquire(blocking=False)


def test_who_gives_up_a_call_while_the_door_closes_is_heard(host, opened, connect, waits, talk):
    """What the client has sent before that is answered: it is not begun any more."""
    door = opened()
    watched = health_pb2_grpc.HealthStub(connect(door)).Watch(health_pb2.HealthCheckRequest(), timeout=LIMIT)
    assert next(watched).status == SERVING
    session = talk(door)
    session.say(Call(id=1, function="waits"))
    assert waits.begun.acquire(timeout=LIMIT)
    closing = threading.Thread(target=lambda: host.run_at_home(door.close(LIMIT), 2 * LIMIT))
    closing.start()
    assert next(watched).status == NOT_SERVING
    watched.cancel()
    session.say(Call(id=2, function="waits"))
    session.say(cancel=[1])
    assert all(reply.error.message for reply in session.hear(2).values())
    assert waits.cancelled.acquire(timeout=LIMIT)
    closing.join(LIMIT)
    assert not closing.is_alive()


def test_what_does_not_end_in_time_is_cancelled(host, opened, connect, waits, talk):
    """And told so."""
    door = opened()
    session = talk(door)
    session.say(Call(id=1, function="waits"))
    future = FunctionsStub(connect(door)).Invoke.future(Call(function="waits"), timeout=LIMIT)
    for _ in range(2):
        assert waits.begun.acquire(timeout=LIMIT)
    host.run_at_home(door.close(0.1), LIMIT)
    for _ in range(2):
        assert waits.cancelled.acquire(timeout=LIMIT)
    assert future.code() in {grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE}


def test_further_rpcs_than_may_be_are_refused(opened, connect, waits):
    """Until one has ended."""
    stub = FunctionsStub(connect(opened(bounds=Bounds(rpcs=2))))
    first = [stub.Invoke.future(Call(function="waits"), timeout=LIMIT) for _ in range(2)]
    for _ in first:
        assert waits.begun.acquire(timeout=LIMIT)
    with pytest.raises(grpc.RpcError) as caught:
        stub.Invoke(SUM, timeout=LIMIT)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    first[0].cancel()
    assert waits.cancelled.acquire(timeout=LIMIT)
    first[1].cancel()


def test_it_tells_what_goes_on(opened, connect, waits, talk):
    """Calls of sessions among it; grpcio has one connection for all channels of a client."""
    door = opened()
    assert door.stats() == {"connections": 0, "under_way": 0, "requests": 0}
    session = talk(door)
    session.say(Call(id=1, function="waits"), Call(id=2, function="waits"), Call(id=3, **_fields(SUM)))
    assert session.hear(1).keys() == {3}
    stub = FunctionsStub(connect(door))
    stub.Invoke(SUM, timeout=LIMIT)
    future = stub.Invoke.future(Call(function="waits"), timeout=LIMIT)
    for _ in range(3):
        assert waits.begun.acquire(timeout=LIMIT)
    assert door.stats() == {"connections": 1, "under_way": 3, "requests": 2}
    future.cancel()


# --- pluginctl serve --------------------------------------------------------------------------------------------------

PLUGIN = """
import asyncio
from jackfield import function

@function
async def wait(seconds: float) -> str:
    print("begun", flush=True)
    await asyncio.sleep(seconds)
    return "done"
"""


@pytest.mark.slow
def test_serve_opens_it_and_ends_when_its_calls_have(tmp_path, socket_path):
    """It shows itself in the first line, and lets a call end after SIGTERM."""
    (tmp_path / "waits.py").write_text(PLUGIN)
    (tmp_path / "jackfield.toml").write_text(
        '[[plugin]]\nname = "waits"\npath = "./waits.py"\n[doors.http]\nport = 0\n[doors.grpc]\nport = 0\n'
    )
    command = [sys.executable, "-m", "jackfield", "serve", "jackfield.toml", "--control", str(socket_path)]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        line = next(line for line in process.stderr if "serving" in line)
        address = line.split("grpc grpc://")[1].split()[0].rstrip(',"}')
        with grpc.insecure_channel(address) as channel:
            answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=LIMIT)
            assert answer.status == SERVING
            future = FunctionsStub(channel).Invoke.future(
                Call(function="waits.wait", payload=b"1.0"), timeout=2 * LIMIT
            )
            assert process.stdout.readline() == "begun\n"
            process.send_signal(signal.SIGTERM)
            assert future.result(LIMIT).result == b'"done"'
        assert process.wait(2 * LIMIT) == 0
    finally:
        process.kill()
        process.communicate()
