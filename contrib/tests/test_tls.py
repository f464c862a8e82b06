"""TLS at the HTTP door: certificates that change while it is open, and clients that are known by theirs."""

import datetime as dt
import os
import socket
import ssl
from contextlib import suppress

import httpx
import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from jackfield import Host, current_call
from jackfield.config import HttpDoorConfig, parse_config
from jackfield.errors import ConfigError, Unavailable
from jackfield.identity import digest_of, new_key
from jackfield.log import install
from jackfield.model.entrance import Entrance, entrance
from jackfield.model.subject import canonical
from jackfield.testing import no_leaks
from jackfield_contrib.http import Bounds
from jackfield_contrib.http.door import HttpDoor
from jackfield_contrib.identity import Identity
from jackfield_contrib.identity.certificates import subject_of

KEY = new_key()


def who() -> str:
    return current_call().tenant


class Issued:
    """An authority, and certificates of its making."""

    def __init__(self, folder):
        self.folder, self.authority = folder, trustme.CA()
        self.authority.cert_pem.write_to_path(folder / "ca.pem")

    def server(self, name="127.0.0.1", authority=None):
        made = (authority or self.authority).issue_cert(name)
        made.cert_chain_pems[0].write_to_path(self.folder / "cert.pem")
        made.private_key_pem.write_to_path(self.folder / "key.pem")
        return made

    def client(self, name="billing", authority=None, **more):
        return (authority or self.authority).issue_cert(
            f"{name}@example.com", common_name=name, organization_name="Acme, Inc.", organization_unit_name="IT", **more
        )


SUBJECT = r"CN=billing,OU=IT,O=Acme\, Inc."


@pytest.fixture
def issued(tmp_path):
    made = Issued(tmp_path)
    made.server()
    return made


@pytest.fixture(params=["asyncio", "uvloop"])
def loop(request):
    """What makes the loop of the host: connections begin differently in each."""
    return pytest.importorskip(request.param).new_event_loop


@pytest.fixture
def host(tmp_path, loop):
    file = tmp_path / "jackfield.toml"
    subject = SUBJECT.replace("\\", "\\\\")
    file.write_text(f'[tenants.bill]\nsubjects = ["{subject}"]\n[tenants.key]\nkeys = ["{digest_of(KEY)}"]\n')
    made = Host.from_config(file, observers=())
    made.use_loop(loop)
    with no_leaks(), made:
        made.register("who", who)
        yield made


@pytest.fixture
def opened(host, issued):
    """Open a door with the files of the folder."""
    doors = []

    def open_door(*, client_ca=True, **bounds):
        files = {"tls_cert": "cert.pem", "tls_key": "key.pem", **({"client_ca": "ca.pem"} if client_ca else {})}
        config = HttpDoorConfig(port=0, **{key: str(issued.folder / name) for key, name in files.items()})
        door = HttpDoor(host, config, bounds=Bounds(**bounds))
        host.run_at_home(door.open(), 20.0)
        doors.append(door)
        return door

    yield open_door
    for door in doors:
        host.run_at_home(door.close(0.0), 20.0)


def trusting(authority, certificate=None):
    context = ssl.create_default_context()
    authority.configure_trust(context)
    if certificate is not None:
        certificate.configure_cert(context)
    return context


def ask(door, context, key=None, headers=()):
    """Make one request on a connection of its own."""
    said = {**({"authorization": f"Bearer {key}"} if key else {}), **dict(headers)}
    with httpx.Client(verify=context, timeout=60, trust_env=False) as client:
        return client.post(f"{door.address}/v1/functions/who", headers=said)


# --- Clients ----------------------------------------------------------------------------------------------------------


def test_a_client_is_known_by_its_certificate(opened, issued):
    """For all requests of a connection."""
    door = opened()
    assert door.address.startswith("https://127.0.0.1:")
    with httpx.Client(verify=trusting(issued.authority, issued.client()), timeout=60, trust_env=False) as client:
        answers = [client.post(f"{door.address}/v1/functions/who") for _ in range(2)]
    assert [answer.json() for answer in answers] == ["bill", "bill"]


def test_one_without_a_certificate_may_have_a_key_or_look_whether_the_host_lives(opened, issued):
    """Else it is nobody."""
    door, plain = opened(), trusting(issued.authority)
    assert ask(door, plain).status_code == 401
    assert ask(door, plain, KEY).json() == "key"
    with httpx.Client(verify=plain, timeout=60, trust_env=False) as client:
        assert client.get(f"{door.address}/healthz").status_code == 200


def test_a_request_that_has_a_credential_is_judged_by_that(opened, issued):
    """A good one is another tenant's; a bad one is no better for the certificate."""
    door, context = opened(), trusting(issued.authority, issued.client())
    assert ask(door, context, KEY).json() == "key"
    assert ask(door, context, KEY + "x").status_code == 401


@pytest.mark.parametrize(
    "more",
    [
        {"name": "billing2"},
        {"name": r"billing,OU=IT,O=Acme\, Inc."},
        {"name": "Billing"},
    ],
)
def test_another_subject_is_nobody_and_the_record_shows_it(opened, issued, more):
    """As the configuration would have it."""
    said = []
    remove = install(said.append)
    answer = ask(opened(), trusting(issued.authority, issued.client(**more)))
    remove()
    assert answer.status_code == 401
    (reason,) = [one.fields["reason"] for one in said if one.event == "refused"]
    assert reason.startswith("nobody has the subject CN=")
    shown = reason.removeprefix("nobody has the subject ").removesuffix(" of its certificate")
    assert canonical(shown) == shown != SUBJECT


def test_a_certificate_of_another_authority_is_not_let_in(opened, issued):
    """Nor one that has expired."""
    door = opened()
    past = dt.datetime(2001, 1, 1, tzinfo=dt.UTC)
    for certificate in (
        issued.client(authority=trustme.CA()),
        issued.client(not_before=past, not_after=past + dt.timedelta(days=1)),
    ):
        with pytest.raises(httpx.TransportError):
            ask(door, trusting(issued.authority, certificate))


def test_nobody_says_in_a_header_whose_certificate_it_has(opened, issued):
    """What a proxy might say counts for nothing here."""
    door = opened()
    headers = {"x-client-cert": SUBJECT, "ssl-client-subject-dn": SUBJECT, "x-forwarded-client-cert": SUBJECT}
    assert ask(door, trusting(issued.authority), headers=headers).status_code == 401


def test_without_an_authority_no_certificate_is_asked_for(opened, issued):
    """And none counts."""
    door = opened(client_ca=False)
    assert ask(door, trusting(issued.authority, issued.client())).status_code == 401


# --- Changes ----------------------------------------------------------------------------------------------------------


def test_a_changed_certificate_is_taken_over_by_the_next_connection(opened, issued):
    """Those that are there go on."""
    door = opened()
    old, fresh = trusting(issued.authority), trustme.CA()
    with httpx.Client(verify=old, timeout=60, trust_env=False) as staying:
        staying.headers["authorization"] = f"Bearer {KEY}"
        assert staying.post(f"{door.address}/v1/functions/who").json() == "key"
        issued.server(authority=fresh)
        assert ask(door, trusting(fresh), KEY).json() == "key"
        with pytest.raises(httpx.ConnectError):
            ask(door, old, KEY)
        assert staying.post(f"{door.address}/v1/functions/who").json() == "key"


def test_a_changed_authority_is_too(opened, issued):
    """Clients of the old one are not let in any more, and no session of theirs is resumed."""
    door = opened()
    context = trusting(issued.authority, issued.client())
    assert ask(door, context).json() == "bill"
    fresh = trustme.CA()
    fresh.cert_pem.write_to_path(issued.folder / "ca.pem")
    with pytest.raises(httpx.TransportError):
        ask(door, context)
    assert ask(door, trusting(issued.authority, issued.client(authority=fresh))).json() == "bill"


def test_half_a_change_changes_nothing(opened, issued):
    """It is told of once; with the other half the new certificate is taken."""
    door = opened()
    said = []
    remove = install(said.append)
    fresh = trustme.CA()
    made = fresh.issue_cert("127.0.0.1")
    made.cert_chain_pems[0].write_to_path(issued.folder / "cert.pem")
    for _ in range(3):
        assert ask(door, trusting(issued.authority), KEY).json() == "key"
    (issued.folder / "key.pem").unlink()
    assert ask(door, trusting(issued.authority), KEY).json() == "key"
    made.private_key_pem.write_to_path(issued.folder / "key.pem")
    assert ask(door, trusting(fresh), KEY).json() == "key"
    remove()
    assert [one.level for one in said] == ["ERROR", "ERROR", "INFO"]


def test_what_is_as_old_and_as_large_as_what_it_replaces_is_taken_over_too(opened, issued):
    """As a copy is that keeps the time, and a file that may be read at last."""
    door = opened()
    key, fresh = issued.folder / "key.pem", trustme.CA()
    made = fresh.issue_cert("127.0.0.1")
    made.cert_chain_pems[0].write_to_path(issued.folder / "cert.pem")
    key.write_bytes(b"-" * len(made.private_key_pem.bytes()))
    before = key.stat()
    assert ask(door, trusting(issued.authority), KEY).json() == "key"
    key.write_bytes(made.private_key_pem.bytes())
    os.utime(key, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert ask(door, trusting(fresh), KEY).json() == "key"


@pytest.mark.parametrize("fault", ["cert", "key", "passphrase", "ca"])
def test_what_cannot_be_used_keeps_the_door_closed(opened, issued, fault):
    """Nobody is asked for a passphrase."""
    if fault == "passphrase":
        made = ec.generate_private_key(ec.SECP256R1())
        secret = made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
        (issued.folder / "key.pem").write_bytes(secret)
    elif fault == "key":
        made = ec.generate_private_key(ec.SECP256R1())
        (issued.folder / "key.pem").write_bytes(made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    else:
        (issued.folder / f"{fault}.pem").write_text("nothing")
    with pytest.raises(Unavailable, match=r"cert\.pem, .*key\.pem and .*ca\.pem cannot be used: .*passphrase"):
        opened()


# --- Subjects ---------------------------------------------------------------------------------------------------------

TYPES = {
    NameOID.COMMON_NAME: "commonName",
    NameOID.ORGANIZATION_NAME: "organizationName",
    NameOID.ORGANIZATIONAL_UNIT_NAME: "organizationalUnitName",
    NameOID.LOCALITY_NAME: "localityName",
    NameOID.STATE_OR_PROVINCE_NAME: "stateOrProvinceName",
    NameOID.DOMAIN_COMPONENT: "domainComponent",
}
VALUES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20)


@settings(deadline=None, max_examples=200)
@given(st.lists(st.tuples(st.sampled_from(list(TYPES)), VALUES), min_size=1, max_size=5))
def test_a_subject_is_written_as_the_library_for_certificates_writes_it(parts):
    """RFC 4514, section 2: whatever is in it; reading it back and writing it again changes nothing."""
    name = x509.Name([x509.NameAttribute(kind, value, _validate=False) for kind, value in parts])
    seen = subject_of({"subject": tuple(((TYPES[kind], value),) for kind, value in parts)})
    assert seen == canonical(name.rfc4514_string())
    assert canonical(seen) == seen


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.tuples(st.sampled_from(["commonName", "organizationName"]), VALUES), min_size=1, max_size=4),
    st.lists(st.tuples(st.sampled_from(["commonName", "organizationName"]), VALUES), min_size=1, max_size=4),
)
def test_different_subjects_are_different_texts(one, other):
    """No value can be made to look like another part."""
    first, second = (subject_of({"subject": tuple((pair,) for pair in parts)}) for parts in (one, other))
    assert (first == second) is (one == other)


@pytest.mark.parametrize(
    ("said", "same"),
    [
        ("CN=billing", "CN=billing"),
        ("cn = billing , o = Acme", "CN=billing,O=Acme"),
        ("commonName=billing;organizationName=Acme", "CN=billing,O=Acme"),
        (r"CN=a\2cb", r"CN=a\,b"),
        (r"CN=M\C3\BCller", "CN=Müller"),
        (r"CN=\ a\ ", r"CN=\ a\ "),
        ("OU=b+CN=a", "CN=a+OU=b"),
        ("1.2.840.113549.1.9.1=a@b.c", "1.2.840.113549.1.9.1=a@b.c"),
    ],
)
def test_one_subject_has_one_form(said, same):
    """However it is spaced, escaped and ordered within a part."""
    assert canonical(said) == same


@pytest.mark.parametrize(
    "said", ["", " ", "billing", "CN=", "=billing", "CN=a,", r"CN=a\zb", "CN=a\\", r"CN=\ff", "C N=a"]
)
def test_what_is_no_subject_is_a_fault_of_the_file(said, tmp_path):
    """With the command that prints one."""
    with pytest.raises(ValueError, match=r"."):
        canonical(said)
    if said:
        text = f"[tenants.t]\nsubjects = ['{said}']\n".encode()
        with pytest.raises(ConfigError, match="openssl x509") as caught:
            parse_config(text, tmp_path / "jackfield.toml")
        assert "tenants.t.subjects[0]" in str(caught.value)


def test_a_subject_is_found_however_a_door_writes_it(host):
    """Each server has a way of its own."""
    identity = Identity(host)
    for said in (SUBJECT, r"cn=billing, ou=IT, o=Acme\2C Inc.", r"commonName=billing;OU=IT;O=\41cme\, Inc."):
        token = entrance.set(Entrance("grpc", "", said))
        assert identity({}) == "bill"
        entrance.reset(token)
    for said in ("no subject", "CN=billing", "", "CN=\\"):
        token = entrance.set(Entrance("grpc", "", said))
        assert identity({}) is None
        entrance.reset(token)


def test_a_subject_of_two_tenants_is_a_fault(tmp_path):
    """However it is written."""
    text = b"[tenants.a]\nsubjects = ['CN=x, O=y']\n[tenants.b]\nsubjects = ['cn=x,o=y']\n"
    with pytest.raises(ConfigError, match="the subject is one of 'a', too"):
        parse_config(text, tmp_path / "jackfield.toml")


@pytest.mark.parametrize("begins", [b"", b"\x16\x03\x01\x02\x00\x01"])
def test_a_client_that_begins_no_tls_is_left(opened, begins):
    """As one that sends no head: before that it is not among the connections that are counted."""
    address = opened(head=0.5).address.rpartition(":")
    with socket.create_connection(("127.0.0.1", int(address[2])), timeout=40) as connection:
        connection.sendall(begins)
        with suppress(ConnectionResetError):
            assert connection.recv(100) == b""
