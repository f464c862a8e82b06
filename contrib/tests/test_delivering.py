"""What is sent to whom: addresses that are refused, connections, bounds, and when to come again."""

import asyncio
import math
import socket
import ssl
import subprocess
import threading
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jackfield.config import Delivery, Secret
from jackfield.durable.deliveries import KEEP, Message
from jackfield.durable.ledger import Entry
from jackfield.durable.records import State, Submitted
from jackfield.errors import Rejected, ResourceExhausted
from jackfield.model.submission import SubmissionState
from jackfield.wire.crossing import pack
from jackfield_contrib.delivering import HttpSender, posting
from jackfield_contrib.delivering.addresses import is_public
from jackfield_contrib.delivering.sending import PAUSES

SECRET = f"whsec_{b64encode(b'a secret of the test').decode()}"
STATE = State(b"12345678", SubmissionState.SUCCEEDED, 1_795_000_000.0, result=pack({"amount": 7}))
CALL = Submitted("billing.charge", "0", b"", b"", b"12345678", 1_795_000_000.0, 0.0)
ENTRY = Entry("0a" * 16, CALL, STATE, 2)


@pytest.fixture(autouse=True)
def secret(monkeypatch):
    monkeypatch.setenv("CRM_SECRET", SECRET)


def send(url, *, private=True, attempt=1, pauses=(5.0, 30.0)):
    delivery = Delivery("crm", url, (Secret("env:CRM_SECRET"),), ("*",), private)
    return asyncio.run(HttpSender(pauses).send(delivery, Message("msg_1", attempt, ENTRY)))


# --- Addresses --------------------------------------------------------------------------------------------------------

REFUSED = [
    "0.0.0.0",  # noqa: S104  # not listened on
    "0.1.2.3",
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "100.127.255.255",
    "127.0.0.1",
    "127.1.2.3",
    "169.254.0.1",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.0.170",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::8.8.8.8",
    "::ffff:8.8.8.8",
    "::ffff:127.0.0.1",
    "::ffff:a00:1",
    "::ffff:0:127.0.0.1",
    "64:ff9b::8.8.8.8",
    "64:ff9b::7f00:1",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:0:808:808::1",
    "2001:2::1",
    "2001:10::1",
    "2001:20::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:808:808::1",
    "3fff::1",
    "4000::1",
    "5f00::1",
    "fc00::1",
    "fd00::1",
    "fdff:ffff::1",
    "fe80::1",
    "fe80::1%lo",
    "fec0::1",
    "ff00::1",
    "ff02::1",
    "ff0e::1",
]
ALLOWED = [
    "1.1.1.1",
    "8.8.8.8",
    "93.184.215.14",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.1",
    "169.253.255.255",
    "172.15.255.255",
    "172.32.0.0",
    "192.0.1.1",
    "192.167.255.255",
    "198.17.255.255",
    "198.20.0.0",
    "223.255.255.255",
    "2606:4700:4700::1111",
    "2a00:1450:4001:81b::200e",
    "2001:4860:4860::8888",
    "2001:200::1",
    "2003::1",
    "3ffe::1",
]


@pytest.mark.parametrize("address", REFUSED)
def test_what_is_not_everybody_s_is_refused(address):
    """Loopback, private, link-local, shared, documentation, multicast, and what holds another address."""
    assert not is_public(address)


@pytest.mark.parametrize("address", ALLOWED)
def test_what_is_everybody_s_is_allowed(address):
    """Their neighbours included."""
    assert is_public(address)


@pytest.mark.parametrize(
    "text", ["", "localhost", "127.1", "0x7f000001", "2130706433", "1.1.1.1:80", "[::1]", "1.1.1.1/8"]
)
def test_what_is_no_address_is_none(text):
    """Resolutions give addresses, in one spelling."""
    assert not is_public(text)


@settings(deadline=None)
@given(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)))
def test_nothing_is_allowed_that_python_knows_to_be_somebody_s_own(address: IPv4Address | IPv6Address):
    """The registries of the running Python are another list of the same; ours is the stricter one."""
    if (
        address.is_private
        or address.is_multicast
        or address.is_loopback
        or address.is_link_local
        or address.is_reserved
    ):
        assert not is_public(str(address))


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "::ffff:127.0.0.1", "fd00::1"])
def test_a_name_that_resolves_to_one_is_refused(receiver, monkeypatch, address):
    """Nobody is connected to."""
    there = receiver()
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    found = [(family, socket.SOCK_STREAM, 6, "", (address, there.port))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    with pytest.raises(Rejected) as caught:
        send(f"http://crm.example.com:{there.port}/", private=False)
    assert caught.value.code == "private_address"
    assert there.requests == []


def test_a_name_is_resolved_once_and_that_address_is_connected_to(receiver, monkeypatch):
    """Whoever owns the name cannot change its mind between the look and the connection."""
    there, asked = receiver(), []

    def resolve(host, port, *_, **__):
        asked.append(host)
        address = "127.0.0.1" if len(asked) == 1 else "127.0.0.2"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", _resolving(resolve))
    assert send(f"http://crm.example.com:{there.port}/hook") == 204
    assert asked[0] == "crm.example.com"
    assert set(asked[1:]) <= {"127.0.0.1"}  # an address that is one already
    assert there.requests[0].headers["host"] == f"crm.example.com:{there.port}"


def _resolving(resolve):
    async def getaddrinfo(_loop, host, port, **more):
        return resolve(host, port, **more)

    return getaddrinfo


# --- When to come again -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "least", "most"),
    [
        (None, 5.0, 6.0),
        ("0", 5.0, 6.0),
        ("7", 7.0, 7.0),
        ("3600", 3_600.0, 3_600.0),
        ("9" * 400, 86_400.0, 86_400.0),
        ("-1", 5.0, 6.0),
        ("1.5", 5.0, 6.0),
        ("soon", 5.0, 6.0),
        ("Mon, 32 Foo 2026 99:99:99 GMT", 5.0, 6.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 5.0, 6.0),
        ("٣٦٠٠", 5.0, 6.0),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_who_says_when_to_come_again_is_not_asked_sooner(receiver, status, said, least, most):
    """Seconds or a date, for no longer than a day; else by our own pauses, a little scattered."""
    headers = {} if said is None else {"retry-after": said.encode().decode("latin-1")}
    with pytest.raises(ResourceExhausted) as caught:
        send(receiver((status, headers, b"")).url)
    assert least <= caught.value.retry_after <= most


def test_when_to_come_again_may_be_a_date(receiver):
    """In GMT."""
    moment = datetime.now(UTC) + timedelta(hours=1)
    there = receiver((503, {"retry-after": format_datetime(moment, usegmt=True)}, b""))
    with pytest.raises(ResourceExhausted) as caught:
        send(there.url)
    assert 3_000.0 < caught.value.retry_after <= 3_601.0


@pytest.mark.parametrize(("attempt", "least"), [(1, 5.0), (2, 30.0), (3, 0.0), (4, 5.0), (5, 30.0)])
def test_pauses_grow_and_begin_anew_when_a_dead_letter_is_redriven(receiver, attempt, least):
    """The number of an attempt does not: it is that of all of them."""
    with pytest.raises(ResourceExhausted) as caught:
        send(receiver((500, {}, b"")).url, attempt=attempt)
    assert least <= caught.value.retry_after <= least * 1.2


# --- Receivers that behave badly --------------------------------------------------------------------------------------


def drip(handler):
    """Write a head that never ends."""
    try:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
        for number in range(10_000_000):
            handler.wfile.write(b"x-%d: %s\r\n" % (number, b"y" * 1_000))
    except OSError:
        pass


def flood(handler):
    """Write a body that never ends."""
    try:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\n")
        while True:
            handler.wfile.write(b"y" * 65_536)
    except OSError:
        pass


def garbage(handler):
    handler.wfile.write(b"SSH-2.0-OpenSSH_9.9\r\n\r\n")


def test_nobody_reads_the_body_of_an_answer(receiver):
    """The status is all that counts, be the body without an end."""
    assert send(receiver((0, {}, flood)).url) == 200


@pytest.mark.parametrize("answer", [drip, garbage, None])
def test_what_is_no_answer_is_tried_again(receiver, answer):
    """A head has its bound."""
    with pytest.raises(ResourceExhausted):
        send(receiver(None if answer is None else (0, {}, answer)).url)


def test_where_nobody_listens_it_is_tried_again(receiver):
    """So it is where no name is."""
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    with pytest.raises(ResourceExhausted):
        send(f"http://127.0.0.1:{port}/")
    with pytest.raises(ResourceExhausted, match="resolved"):
        send("http://nobody.invalid/")


@pytest.mark.slow
@pytest.mark.parametrize("says", [b"", b"H"])
def test_a_receiver_that_takes_its_time_has_an_end(receiver, monkeypatch, says):
    """All of it together is bounded, however it is spent: in silence, or letter by letter."""
    monkeypatch.setattr(posting, "TIMEOUT", 1.0)
    end = threading.Event()

    def slowly(handler):
        try:
            while not end.wait(0.1):
                handler.wfile.write(says)
        except OSError:
            pass

    there = receiver((0, {}, slowly))
    try:
        with pytest.raises(ResourceExhausted):
            send(there.url)
    finally:
        end.set()


# --- TLS and signatures -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """Make a certificate for localhost."""
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
    ]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*command, *names, "-keyout", str(key), "-out", str(cert)], check=True, capture_output=True)
    return cert, key


@pytest.mark.parametrize(
    ("name", "trusted", "good"), [("localhost", True, True), ("localhost", False, False), ("127.0.0.1", True, False)]
)
def test_over_tls_the_certificate_has_to_be_of_the_name(receiver, monkeypatch, certificate, name, trusted, good):
    """Of the name in the url, not of the address that was connected to; and of somebody who is trusted."""
    cert, key = certificate
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    there = receiver()
    there.over(context)
    monkeypatch.setattr(posting, "_tls", lambda: ssl.create_default_context(cafile=str(cert) if trusted else None))
    if good:
        assert send(f"https://{name}:{there.port}/hook") == 204
    else:
        with pytest.raises(ResourceExhausted, match="certificate"):
            send(f"https://{name}:{there.port}/hook")


def test_a_secret_that_is_gone_is_waited_for(receiver, monkeypatch):
    """The result is sent when it is there again; nothing is sent unsigned."""
    there = receiver()
    monkeypatch.delenv("CRM_SECRET")
    with pytest.raises(ResourceExhausted, match="CRM_SECRET"):
        send(there.url)
    assert there.requests == []


def test_pauses_come_to_most_of_a_day():
    """And the result is kept for longer than that."""
    assert 12 * 3_600.0 < math.fsum(PAUSES) * 1.2 < KEEP
