"""`[doors]`: what a file may say, and what is wrong with it."""

from importlib.metadata import EntryPoint, EntryPoints

import pytest

from jackfield import Host, Probes, config
from jackfield.config import GrpcDoorConfig, HttpDoorConfig, doors_check, parse_config
from jackfield.config.doors_check import is_loopback
from jackfield.errors import ConfigError, Unavailable
from jackfield.operations.doors import Doors

INSTALLED = EntryPoints(
    [EntryPoint(f"door:{kind}", "nothing:at_all", "jackfield.adapters") for kind in ("http", "grpc")]
)


@pytest.fixture
def adapters(monkeypatch):
    """Have a door installed, or none."""

    def have(points):
        monkeypatch.setattr(doors_check, "entry_points", points.select)

    have(INSTALLED)
    return have


def test_without_its_library_a_door_says_what_to_install(tmp_path, adapters, monkeypatch):
    """The distribution is there, and the extra is not: that is no fault of jackfield's own."""
    monkeypatch.setattr(config.adapters, "entry_points", INSTALLED.select)
    for kind in ("http", "grpc"):
        doors = parsed(f"[doors.{kind}]", tmp_path).doors
        with Host(observers=()) as host, pytest.raises(Unavailable) as refused:
            Doors(host, doors, Probes(host))
        missing = "it cannot be imported: No module named 'nothing'"
        assert str(refused.value) == f"door {kind}: {missing}: pip install 'jackfield-contrib[{kind}]'"


def parsed(text, folder):
    return parse_config(text.encode(), folder / "jackfield.toml")


def test_without_the_table_there_is_no_door(tmp_path):
    """And nothing is looked up."""
    assert parsed("discover = true", tmp_path).doors.http is None


def test_a_door_has_defaults_and_absolute_files(tmp_path, adapters):
    """A table alone is enough."""
    assert parsed("[doors.http]", tmp_path).doors.http == HttpDoorConfig("127.0.0.1", 8080)
    for name in ("cert.pem", "key.pem"):
        (tmp_path / name).touch()
    text = '[doors.http]\nuds = "http.sock"\ntls_cert = "cert.pem"\ntls_key = "key.pem"'
    http = parsed(text, tmp_path).doors.http
    expected = [str(tmp_path / name) for name in ("http.sock", "cert.pem", "key.pem")]
    assert [http.uds, http.tls_cert, http.tls_key] == expected


@pytest.mark.parametrize(
    ("text", "key", "fix"),
    [
        ('host = "0.0.0.0"', "doors.http.host", "[tenants]"),
        ('host = "api.example.com"', "doors.http.host", "[tenants]"),
        ('host = ""', "doors.http.host", ""),
        ("port = 70000", "doors.http.port", ""),
        ("prot = 1", "doors.http.prot", "did you mean 'port'?"),
        ('tls_cert = "cert.pem"', "doors.http.tls_cert", "add tls_key"),
        ('tls_key = "cert.pem"', "doors.http.tls_key", "add tls_cert"),
        ('tls_cert = "no.pem"\ntls_key = "cert.pem"', "doors.http.tls_cert", "create it"),
        ('uds = "no/http.sock"', "doors.http.uds", "create it"),
    ],
)
def test_what_is_wrong_is_told_with_its_fix(tmp_path, adapters, text, key, fix):
    """With its key and line."""
    (tmp_path / "cert.pem").touch()
    with pytest.raises(ConfigError) as caught:
        parsed(f"[doors.http]\n{text}", tmp_path)
    assert key in str(caught.value)
    assert fix in str(caught.value)


def test_the_door_for_grpc_has_its_own(tmp_path, adapters):
    """With the certificate of who signs those of clients."""
    assert parsed("[doors.grpc]", tmp_path).doors.grpc == GrpcDoorConfig("127.0.0.1", 9090)
    for name in ("cert.pem", "key.pem", "ca.pem"):
        (tmp_path / name).touch()
    text = '[doors.grpc]\ntls_cert = "cert.pem"\ntls_key = "key.pem"\nclient_ca = "ca.pem"\n[doors.http]'
    doors = parsed(text, tmp_path).doors
    expected = [str(tmp_path / name) for name in ("cert.pem", "key.pem", "ca.pem")]
    assert [doors.grpc.tls_cert, doors.grpc.tls_key, doors.grpc.client_ca] == expected
    assert doors.http == HttpDoorConfig()


@pytest.mark.parametrize(
    ("text", "key", "fix"),
    [
        ('host = "0.0.0.0"', "doors.grpc.host", "[tenants]"),
        ('uds = "s"', "doors.grpc.uds", "unknown key"),
        ('tls_key = "cert.pem"', "doors.grpc.tls_key", "add tls_cert"),
        ('client_ca = "cert.pem"', "doors.grpc.client_ca", "add tls_cert and tls_key"),
        ('tls_cert = "cert.pem"\ntls_key = "cert.pem"\nclient_ca = "no.pem"', "doors.grpc.client_ca", "create it"),
    ],
)
def test_so_has_what_is_wrong_with_it(tmp_path, adapters, text, key, fix):
    """Told as that of the other is."""
    (tmp_path / "cert.pem").touch()
    with pytest.raises(ConfigError) as caught:
        parsed(f"[doors.grpc]\n{text}", tmp_path)
    assert key in str(caught.value)
    assert fix in str(caught.value)


def test_beyond_loopback_it_listens_once_there_are_tenants(tmp_path, adapters):
    """Then nobody calls without being one."""
    assert parsed('[tenants.t]\n[doors.http]\nhost = "0.0.0.0"', tmp_path).doors.http.host == "0.0.0.0"  # noqa: S104


@pytest.mark.parametrize("kind", ["http", "grpc"])
def test_a_missing_adapter_is_named_with_its_installation(tmp_path, adapters, kind):
    """Nothing is imported to find that out."""
    adapters(EntryPoints([]))
    with pytest.raises(ConfigError, match=rf"pip install 'jackfield-contrib\[{kind}\]'"):
        parsed(f"[doors.{kind}]", tmp_path)


@pytest.mark.parametrize(
    ("host", "near"),
    [("127.0.0.1", True), ("127.8.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False), ("localhost.example.com", False), ("", False)],  # noqa: S104, E501
)  # fmt: skip
def test_loopback_is_told_without_asking_anybody(host, near):
    """A name may be anywhere."""
    assert is_loopback(host) is near
