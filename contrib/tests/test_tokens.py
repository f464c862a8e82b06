"""Tokens of an issuer: which are good, and what each forged, stale or odd one gets."""

import asyncio
import base64
import hashlib
import hmac
import json
import ssl
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import pairwise
from time import monotonic, time

import httpx
import pytest
import trustme
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, OctKey, OKPKey, RSAKey

from jackfield import Host, current_call
from jackfield.config import JwtConfig, parse_config
from jackfield.errors import ConfigError, Unavailable
from jackfield.log import install
from jackfield_contrib.http import asgi
from jackfield_contrib.identity import Identity
from jackfield_contrib.identity.credential import NotGood
from jackfield_contrib.identity.jwks import FileKeys, UrlKeys, read
from jackfield_contrib.identity.tokens import Tokens

ISSUER, AUDIENCE = "https://id.example.com", "jackfield"
RSA = RSAKey.generate_key(2048, {"kid": "rsa", "use": "sig"})
EC = ECKey.generate_key("P-256", {"kid": "ec"})
ED = OKPKey.generate_key("Ed25519", {"kid": "ed"})
STRANGER = RSAKey.generate_key(2048, {"kid": "rsa"})
SET = KeySet([RSA, EC, ED])
ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA", "Ed25519")


def jwks(*keys):
    return json.dumps(KeySet(list(keys)).as_dict(private=False)).encode()


def claims(**more):
    now = int(time())
    good = {"iss": ISSUER, "aud": AUDIENCE, "exp": now + 600, "iat": now, "tenant": "alice"}
    return {name: value for name, value in {**good, **more}.items() if value is not None}


def signed(key=RSA, alg="RS256", header=(), **more):
    return jwt.encode({"alg": alg, "kid": key.kid, **dict(header)}, claims(**more), key, algorithms=[alg]).encode()


def raw(header):
    """Sign whatever header it is, also one that the library would not write."""
    text = part(header) + b"." + part(claims())
    signature = RSA.get_op_key("sign").sign(text, padding.PKCS1v15(), hashes.SHA256())
    return text + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")


def part(value):
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=")


def unsigned(header, **more):
    return part(header) + b"." + part(claims(**more)) + b"."


def by_hmac(secret):
    """Sign with a public key as if it were a shared secret."""
    text = part({"alg": "HS256", "kid": "rsa", "typ": "JWT"}) + b"." + part(claims())
    return text + b"." + base64.urlsafe_b64encode(hmac.new(secret, text, hashlib.sha256).digest()).rstrip(b"=")


class Given:
    """Keys that are there."""

    def __init__(self, keys):
        self.keys, self.asked = keys, 0

    def current(self):
        return self.keys

    def missed(self):
        self.asked += 1


@pytest.fixture
def given_keys():
    return Given(read(jwks(RSA, EC, ED)))


@pytest.fixture
def tokens(given_keys):
    return Tokens(JwtConfig(ISSUER, AUDIENCE, "jwks.json", ALGORITHMS), given_keys)


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")  # so says who signs; who verifies has been told to
@pytest.mark.parametrize(
    ("key", "alg"), [(RSA, "RS256"), (RSA, "PS256"), (EC, "ES256"), (ED, "EdDSA"), (ED, "Ed25519")]
)
def test_a_token_of_the_issuer_names_the_tenant(tokens, key, alg):
    """Each of the algorithms; the second time, too."""
    token = signed(key, alg)
    assert [tokens.tenant(token) for _ in range(2)] == ["alice", "alice"]


@pytest.mark.parametrize(
    "more",
    [
        lambda: {"aud": ["other", AUDIENCE]},
        lambda: {"nbf": int(time()) + 10},  # within the leeway
        lambda: {"exp": int(time()) - 10},
        lambda: {"exp": 10**400},
        lambda: {"sub": "somebody", "scope": "all"},
    ],
)
def test_what_a_token_may_say(tokens, more):
    """Several audiences, clocks that differ a little, further claims."""
    assert tokens.tenant(signed(**more())) == "alice"


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        (lambda: signed(exp=int(time()) - 60), "it has expired"),
        (lambda: signed(exp=None), "its claim 'exp'"),
        (lambda: signed(exp="never"), "its claim 'exp'"),
        (lambda: signed(exp=float("nan")), "its claim 'exp'"),
        (lambda: signed(exp=True), "its claim 'exp'"),
        (lambda: signed(nbf=int(time()) + 60), "its claim 'nbf'"),
        (lambda: signed(iat=int(time()) + 60), "its claim 'iat'"),
        (lambda: signed(iss="https://evil.example.com"), "its claim 'iss'"),
        (lambda: signed(iss=None), "its claim 'iss'"),
        (lambda: signed(iss=[ISSUER]), "its claim 'iss'"),
        (lambda: signed(aud="another"), "its claim 'aud'"),
        (lambda: signed(aud=None), "its claim 'aud'"),
        (lambda: signed(aud=[]), "its claim 'aud'"),
        (lambda: signed(aud={"jackfield": True}), "its claim 'aud'"),
        (lambda: signed(tenant=None), "it has no claim 'tenant'"),
        (lambda: signed(tenant=""), "it has no claim 'tenant'"),
        (lambda: signed(tenant=["alice"]), "it has no claim 'tenant'"),
        (lambda: signed(STRANGER), "its signature is wrong"),
        (lambda: signed(EC, "ES256", {"kid": "rsa"}), "it is no token"),
        (lambda: signed()[:-4] + b"AAAA", "its signature is wrong"),
        (lambda: signed().replace(b".", b".e", 1), "it"),
        (lambda: signed(header={"kid": "unknown"}), "it names no key that the issuer has"),
        (lambda: raw({"alg": "RS256", "kid": ["rsa"]}), "it is no token"),
        (lambda: signed(RSA, "RS512"), "its algorithm is none of RS256"),
        (lambda: unsigned({"alg": "none"}), "its algorithm is none of"),
        (lambda: unsigned({"alg": "None", "kid": "rsa"}), "its algorithm is none of"),
        (lambda: unsigned({"alg": "nOnE", "kid": "rsa"}), "its algorithm is none of"),
        (lambda: unsigned({"alg": "RS256", "kid": "rsa"}), "its signature is wrong"),
        (lambda: unsigned({"kid": "rsa"}), "it is no token"),
        (lambda: unsigned({"alg": ["RS256"], "kid": "rsa"}), "it is no token"),
        (lambda: by_hmac(RSA.as_pem(private=False)), "its algorithm is none of"),
        (lambda: by_hmac(RSA.as_der(private=False)), "its algorithm is none of"),
        (lambda: by_hmac(b""), "its algorithm is none of"),
        (lambda: signed(STRANGER, header={"jwk": STRANGER.as_dict(private=False)}), "its signature is wrong"),
        (lambda: signed(STRANGER, header={"jku": "https://evil.example.com/jwks"}), "its signature is wrong"),
        (lambda: raw({"alg": "RS256", "kid": "rsa", "crit": ["exp"]}), "it is no token"),
        (lambda: raw({"alg": "RS256", "kid": "rsa", "crit": ["x"], "x": 1}), "it is no token"),
        (lambda: b"..", "it is no token"),
        (lambda: b"a.b.c", "it is no token"),
        (lambda: b"\xff.\xff.\xff", "it is no token"),
        (lambda: base64.urlsafe_b64encode(b"[" * 4_000) + b".e30.AA", "it is no token"),
        (lambda: part({"alg": "RS256", "x": "y" * 6_000}) + b".e30.AA", "it is no token"),
    ],
)
def test_what_is_not_good(tokens, token, reason):
    """Forged, stale, for others, or nothing: each is refused, and none is repeated in the reason."""
    given_token = token()
    for _ in range(2):
        with pytest.raises(NotGood) as caught:
            tokens.tenant(given_token)
        assert caught.value.reason.startswith(reason)
    for piece in given_token.decode("latin-1").split("."):
        assert len(piece) < 8 or piece not in caught.value.reason


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200) | st.lists(st.binary(max_size=60), min_size=3, max_size=3).map(b".".join))
def test_no_bytes_are_a_token_or_an_error(tokens, odd):
    """Whatever a stranger sends."""
    with pytest.raises(NotGood):
        tokens.tenant(odd)


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_good_token_survives_a_change(tokens, data):
    """Every bit of what is signed counts."""
    token = bytearray(signed(ED, "Ed25519"))
    place = data.draw(st.integers(0, token.rindex(b".") - 1))
    token[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(NotGood):
        tokens.tenant(bytes(token))


def test_a_token_is_good_no_longer_than_its_key(tokens, given_keys):
    """Though it was verified before."""
    token = signed()
    assert tokens.tenant(token) == "alice"
    given_keys.keys = read(jwks(EC))
    with pytest.raises(NotGood, match="no key"):
        tokens.tenant(token)
    assert given_keys.asked == 1


def test_a_token_is_good_no_longer_than_it_says(tokens, monkeypatch):
    """Though it was verified before."""
    token = signed(exp=int(time()) + 5)
    assert tokens.tenant(token) == "alice"
    later = time() + 40
    monkeypatch.setattr("jackfield_contrib.identity.tokens.time", lambda: later)
    monkeypatch.setattr("joserfc._rfc7519.claims.time.time", lambda: later)
    with pytest.raises(NotGood, match="expired"):
        tokens.tenant(token)


def test_without_keys_nothing_is_said_of_a_token(tokens, given_keys):
    """It may be good: whoever sent it tries again."""
    given_keys.keys = None
    with pytest.raises(Unavailable, match="have not come"):
        tokens.tenant(signed())


# --- Keys -------------------------------------------------------------------------------------------------------------


def test_a_set_is_read_without_what_cannot_be_used():
    """Shared secrets, keys to encrypt, keys that are too short or of a new kind; and nothing private is kept."""
    weak = RSA.as_dict(private=False) | {"kid": "weak", "n": "AQAB"}
    rows = [
        RSA.as_dict(private=True),
        OctKey.generate_key(256, {"kid": "oct"}).as_dict(private=True),
        EC.as_dict(private=False) | {"kid": "enc", "use": "enc"},
        {"kty": "PQC", "kid": "new"},
        {"kty": "EC", "kid": "broken"},
        weak, "odd", None,
    ]  # fmt: skip
    found = read(json.dumps({"keys": rows}).encode())
    assert [key.kid for key in found] == ["rsa"]
    assert not found.keys[0].is_private


@pytest.mark.parametrize(
    "data",
    [
        b"", b"{", b"[]", b"{}", b'{"keys": 7}', b'{"keys": []}', b"[" * 100_000, b"\xff", b" " * 300_000,
        json.dumps({"keys": [{"kty": "oct", "k": "AAAA"}]}).encode(),
        json.dumps({"keys": [RSA.as_dict(private=False)] * 101}).encode(),
    ],
)  # fmt: skip
def test_what_is_no_set_is_refused(data):
    """With what is wrong."""
    with pytest.raises(ValueError, match=r"."):
        read(data)


def test_a_file_is_read_again_when_it_has_changed(tmp_path):
    """A broken one leaves the keys that there were; that is told once."""
    said = []
    remove = install(said.append)
    file = tmp_path / "jwks.json"
    keys = FileKeys(str(file))
    assert keys.current() is None
    file.write_bytes(jwks(RSA))
    first = keys.current()
    assert [key.kid for key in first] == ["rsa"]
    assert keys.current() is first
    file.write_text("{")
    assert [keys.current() for _ in range(3)] == [first] * 3
    fresh = tmp_path / "fresh"
    fresh.write_bytes(jwks(EC, ED))
    fresh.rename(file)
    assert [key.kid for key in keys.current()] == ["ec", "ed"]
    file.unlink()
    assert len(list(keys.current())) == 2
    remove()
    assert [one.level for one in said] == ["ERROR"] * 3


class Issuer:
    """What an issuer publishes, by a clock of its own."""

    def __init__(self):
        self.now, self.asked, self.answer, self.work = 0.0, 0, jwks(RSA), []

    def fetch(self, url):
        assert url == "https://id.example.com/jwks"
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def keys(self):
        return UrlKeys("https://id.example.com/jwks", self.fetch, lambda: self.now, self.work.append)

    def run(self):
        work = list(self.work)
        self.work.clear()
        for each in work:
            each()
        return len(work)


def test_keys_are_fetched_beside_the_requests_and_again_after_a_while():
    """Nobody waits, and there is one request at a time."""
    issuer = Issuer()
    keys = issuer.keys()
    assert [keys.current() for _ in range(3)] == [None] * 3
    assert issuer.run() == 1
    assert keys.current() is not None
    issuer.now = 200.0
    assert keys.current() is not None
    assert issuer.run() == 0
    issuer.now, issuer.answer = 301.0, jwks(EC)
    assert [key.kid for key in keys.current()] == ["rsa"]
    assert issuer.run() == 1
    assert [key.kid for key in keys.current()] == ["ec"]


def test_a_key_that_is_not_there_is_asked_for_soon_but_not_often():
    """Whoever makes up names of keys makes no flood of requests."""
    issuer = Issuer()
    keys = issuer.keys()
    keys.current()
    issuer.run()
    for _ in range(100):
        keys.missed()
    assert issuer.run() == 0
    issuer.now = 10.5
    for _ in range(100):
        keys.missed()
    assert issuer.run() == 1
    assert issuer.asked == 2


def test_after_failures_the_pauses_grow_and_the_keys_stay_good_for_a_day():
    """What the issuer cannot answer it is not asked all the time."""
    issuer = Issuer()
    keys = issuer.keys()
    keys.current()
    issuer.run()
    issuer.answer = OSError("refused")
    asked = []
    while issuer.now < 2_000.0:
        assert keys.current() is not None
        keys.missed()
        if issuer.run():
            asked.append(issuer.now)
        issuer.now += 0.5
    pauses = [later - earlier for earlier, later in pairwise(asked)]
    assert pauses == sorted(pauses) or pauses[-1] > 200.0
    assert len(asked) < 20
    assert max(pauses) <= 301.0
    issuer.now = 90_000.0
    assert keys.current() is None
    issuer.answer = jwks(EC)
    issuer.run()
    assert [key.kid for key in keys.current()] == ["ec"]


@pytest.mark.parametrize("answer", [b"{", b'{"keys": []}', ValueError("odd"), TimeoutError()])
def test_an_odd_answer_is_a_failure(answer):
    """The keys that there are stay."""
    issuer = Issuer()
    keys = issuer.keys()
    keys.current()
    issuer.run()
    first = keys.current()
    issuer.now, issuer.answer = 301.0, answer
    keys.current()
    issuer.run()
    assert keys.current() is first


@pytest.fixture
def published(monkeypatch, tmp_path):
    """An issuer with a certificate that this process trusts: path → what it answers."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    for proxy in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(proxy, raising=False)

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path == "/moved":
                self.send_response(302)
                self.send_header("Location", "/jwks")
                self.end_headers()
                return
            self.send_response(500 if self.path == "/broken" else 200)
            self.end_headers()
            with suppress(OSError):  # whoever has asked has left
                while self.path == "/drips" and not ended.wait(0.05):
                    self.wfile.write(b" ")
                while self.path == "/endless" and not ended.is_set():
                    self.wfile.write(b" " * 65_536)
                self.wfile.write(jwks(RSA))

        def log_message(self, *_):
            return

    def serve(name):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(name).configure_cert(context)
        server = HTTPServer(("127.0.0.1", 0), Answers)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}).start()
        servers.append(server)
        return f"https://127.0.0.1:{server.server_address[1]}"

    servers, ended = [], threading.Event()
    yield serve
    ended.set()
    for server in servers:
        server.shutdown()
        server.server_close()


def waited(keys, said):
    until = monotonic() + 60
    while (found := keys.current()) is None and not said:
        assert monotonic() < until
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "path", "fault"),
    [
        ("127.0.0.1", "/jwks", ""),
        ("127.0.0.1", "/moved", "302"),
        ("127.0.0.1", "/broken", "500"),
        ("127.0.0.1", "/endless", "it has more than"),
        ("127.0.0.1", "/drips", "it has not answered within 0.5 s"),
        ("other.example.com", "/jwks", "cannot be had"),
    ],
)
def test_keys_come_from_where_the_configuration_says_and_from_nowhere_else(published, monkeypatch, name, path, fault):
    """Over TLS that is verified, without following anybody, and none that has no end."""
    if path == "/drips":
        monkeypatch.setattr("jackfield_contrib.identity.jwks._WHOLE", 0.5)
    said = []
    remove = install(lambda message: said.append(message.text))
    found = waited(UrlKeys(published(name) + path), said)
    remove()
    if fault:
        assert fault in said[0]
        assert found is None
    else:
        assert [key.kid for key in found] == ["rsa"]


# --- The door's -------------------------------------------------------------------------------------------------------

FILE = """
[tenants.alice]
[tenants.bob]
[auth.jwt]
issuer = "https://id.example.com"
audience = "jackfield"
keys = "jwks.json"
"""


@pytest.fixture
def host(tmp_path):
    (tmp_path / "jwks.json").write_bytes(jwks(RSA))
    (tmp_path / "jackfield.toml").write_text(FILE)
    with Host.from_config(tmp_path / "jackfield.toml", observers=()) as made:
        yield made


def bearer(token):
    return {b"authorization": b"Bearer " + token}


def test_the_configuration_of_now_says_which_tokens_are_good(host, tmp_path):
    """An apply changes it, and says so."""
    identity = Identity(host)
    token = signed()
    assert identity(bearer(token)) == "alice"
    assert identity(bearer(signed(tenant="nobody"))) is None
    file = tmp_path / "jackfield.toml"
    file.write_text(FILE.replace('"jackfield"', '"another"'))
    plan = host.apply(file)
    assert [(change.kind, [field.field for field in change.fields]) for change in plan.changes] == [
        ("tenants", ["auth.jwt.audience"])
    ]
    assert identity(bearer(token)) is None
    assert identity(bearer(signed(aud="another"))) == "alice"
    file.write_text("[tenants.alice]\n")
    host.apply(file)
    assert identity(bearer(signed(aud="another"))) is None


def test_each_refused_token_has_a_record_that_says_why(host):
    """Without any of it."""
    said = []
    remove = install(said.append)
    token = signed(exp=1)
    assert Identity(host)(bearer(token)) is None
    remove()
    ((event, reason, text),) = [(one.event, one.fields["reason"], one.text) for one in said]
    assert (event, reason) == ("refused", "it has expired")
    assert not [piece for piece in token.decode().split(".") if piece in text]


def test_through_a_door_a_token_is_a_key_and_a_bad_one_is_a_401(host):
    """While it cannot be verified at all the answer is a 503: it may be good."""
    host.register("who", lambda: current_call().tenant)

    def ask(token):
        async def once():
            transport = httpx.ASGITransport(asgi(host))
            async with httpx.AsyncClient(transport=transport, base_url="http://door") as client:
                return await client.post("/v1/functions/who", headers={"authorization": f"Bearer {token.decode()}"})

        return asyncio.run(once())

    assert ask(signed()).json() == "alice"
    refused = [ask(token) for token in (signed(exp=1), unsigned({"alg": "none"}), by_hmac(b""), b"nothing")]
    assert [answer.status_code for answer in refused] == [401] * 4
    assert len({(answer.content, str(answer.headers)) for answer in refused}) == 1


def test_without_keys_a_door_says_that_it_cannot_tell(tmp_path):
    """And not that the token is bad."""
    (tmp_path / "jwks.json").write_text('{"keys": []}')
    (tmp_path / "jackfield.toml").write_text(FILE)
    with Host.from_config(tmp_path / "jackfield.toml", observers=()) as host:

        async def ask():
            transport = httpx.ASGITransport(asgi(host))
            async with httpx.AsyncClient(transport=transport, base_url="http://door") as client:
                return await client.get("/v1/functions", headers={"authorization": f"Bearer {signed().decode()}"})

        answer = asyncio.run(ask())
    assert (answer.status_code, answer.json()["outcome"]) == (503, "unavailable")


@pytest.mark.parametrize(
    ("text", "key", "fix"),
    [
        ('issuer = "i"\naudience = "a"\nkeys = "jwks.json"', "", ""),
        ('issuer = "i"\naudience = "a"\nkeys = "https://id.example.com/jwks"', "", ""),
        ('audience = "a"\nkeys = "jwks.json"', "auth.jwt.issuer", 'add issuer = "'),
        ('issuer = "i"\nkeys = "jwks.json"', "auth.jwt.audience", 'add audience = "'),
        ('issuer = "i"\naudience = "a"', "auth.jwt.keys", 'add keys = "'),
        ('issuer = "i"\naudience = "a"\nkeys = "no.json"', "auth.jwt.keys", "create it"),
        ('issuer = "i"\naudience = "a"\nkeys = "http://id.example.com/jwks"', "auth.jwt.keys", "https://"),
        ('issuer = "i"\naudience = "a"\nkeys = "jwks.json"\nalgorithms = []', "auth.jwt.algorithms", "name one"),
        ('issuer = "i"\naudience = "a"\nkeys = "jwks.json"\nalgorithms = ["HS256"]', "auth.jwt.algorithms[0]", "mean"),
        ('issuer = "i"\naudience = "a"\nkeys = "jwks.json"\nalgorithms = ["none"]', "auth.jwt.algorithms[0]", "known"),
        ('issuer = "i"\naudience = "a"\nkeys = "jwks.json"\nleeway = 3600.0', "auth.jwt.leeway", ""),
        ('issuer = "i"\naudience = "a"\nkeys = "jwks.json"\nissuers = []', "auth.jwt.issuers", "did you mean 'issuer'"),
    ],
)
def test_what_is_wrong_in_the_file_is_told_with_its_fix(tmp_path, text, key, fix):
    """With its key."""
    (tmp_path / "jwks.json").write_bytes(jwks(RSA))
    whole = f"[tenants.t]\n[auth.jwt]\n{text}\n".encode()
    if not key:
        assert parse_config(whole, tmp_path / "jackfield.toml").auth.jwt is not None
        return
    with pytest.raises(ConfigError) as caught:
        parse_config(whole, tmp_path / "jackfield.toml")
    (fault,) = caught.value.faults
    assert fault.entry.startswith(f"{key} ") or fault.entry == key
    assert fix in fault.fix


def test_tokens_without_tenants_are_a_fault(tmp_path):
    """They would protect nothing."""
    (tmp_path / "jwks.json").write_bytes(jwks(RSA))
    text = FILE.replace("[tenants.alice]\n[tenants.bob]\n", "")
    with pytest.raises(ConfigError, match="tokens name tenants, and there are none"):
        parse_config(text.encode(), tmp_path / "jackfield.toml")
