"""The flows of a configuration: there with the host, held against its functions, changed by an apply."""

import pytest

from jackfield import FunctionCrashed, FunctionNotFound, Host, PluginError
from jackfield.config import parse_config

PLUGIN = """
def check(token: str) -> dict[str, str]:
    return {"mail": token + "@example.com"}

def notify(to: str) -> str:
    return "told " + to

def count(to: str) -> int:
    return len(to)
"""
HEAD = """
[[plugin]]
name = "p"
path = "./p.py"
functions = { "auth.check" = "check", "mail.notify" = "notify", "mail.count" = "count" }
"""
AUTH = '[flows.checkout.steps.auth]\ncall = "auth.check"\nwith = { token = "$input.token" }\n'
NOTIFY = '[flows.checkout.steps.notify]\ncall = "mail.notify"\nwith = { to = "$auth.mail" }\n'
COUNT = NOTIFY.replace("mail.notify", "mail.count")


@pytest.fixture
def file(tmp_path):
    """A file that is written anew by calling it."""
    (tmp_path / "p.py").write_text(PLUGIN)
    place = tmp_path / "jackfield.toml"

    def write(*parts):
        place.write_text(HEAD + "".join(parts))
        return place

    return write


def test_a_flow_of_the_file_is_there_with_the_host(file):
    """And gives what its last step gives, as its contract says."""
    with Host.from_config(file("[flows.checkout]\ntimeout = 30.0\n", AUTH, NOTIFY), observers=()) as host:
        assert not host.faults
        assert host.call("checkout", {"token": "ada"}) == "told ada@example.com"
        assert host.function("checkout", dict, str)({"token": "ada"}) == "told ada@example.com"
        assert host.describe("checkout").policy.timeout == 30.0


def test_two_versions_are_versions(file):
    """The first is the default, unless a route says otherwise."""
    text = "".join(
        f'[[flows.f]]\nversion = "{version}"\n[flows.f.steps.a]\ncall = "mail.{call}"\nwith = {{ to = "x" }}\n'
        for version, call in (("1.0", "notify"), ("2.0", "count"))
    )
    with Host.from_config(file(text), observers=()) as host:
        assert host.call("f") == "told x"
        assert host.call("f", version="2.0") == 1
    with Host.from_config(file(text, '[routes]\nf = "2.0"\n'), observers=()) as host:
        assert host.call("f") == 1


def test_a_function_that_nobody_knows_is_a_fault_when_the_host_has_started(file):
    """It keeps a strict host from starting."""
    text = (AUTH.replace("auth.check", "auth.chekc"), NOTIFY)
    with Host.from_config(file(*text), observers=()) as host:
        (fault,) = host.faults
        assert (fault.stage, fault.entry) == ("flow", "checkout@0 steps.auth.call")
        assert "did you mean 'auth.check'?" in fault.reason
        with pytest.raises(FunctionCrashed, match=r"auth\.chekc"):
            host.call("checkout", {"token": "ada"})
    path = file(*text)
    host = Host.from_config(parse_config(b"strict = true\n" + path.read_bytes(), path), observers=())
    with pytest.raises(PluginError, match=r"auth\.chekc"):
        host.start()


def test_an_apply_changes_adds_and_takes_away_flows(file):
    """In one swap; the rest stays as it was."""
    other = AUTH.replace("checkout", "other")
    with Host.from_config(file(AUTH, NOTIFY, other), observers=()) as host:
        kept = host.describe("other")
        plan = host.apply(file(AUTH, COUNT, other, AUTH.replace("checkout", "third")))
        assert plan.ok
        assert [(change.kind, [str(field) for field in change.fields]) for change in plan.changes] == [
            (
                "flows",
                [
                    "checkout@0: auth = auth.check; notify = mail.notify → auth = auth.check; notify = mail.count",
                    "third@0: (none) → auth = auth.check",
                ],
            )
        ]
        assert host.call("checkout", {"token": "ada"}) == len("ada@example.com")
        assert host.call("third", {"token": "ada"}) == {"mail": "ada@example.com"}
        assert host.describe("other") is kept
        assert not host.apply(file(AUTH, COUNT, other, AUTH.replace("checkout", "third"))).changes
        assert host.apply(file(other)).ok
        for name in ("checkout", "third"):
            with pytest.raises(FunctionNotFound):
                host.call(name)


def test_another_version_in_the_file_takes_the_place_of_the_one_that_goes(file):
    """At no moment there is none."""
    head = '[flows.checkout]\nversion = "{}"\n'
    with Host.from_config(file(head.format("1.0"), AUTH), observers=()) as host:
        revisions = len(host.revisions)
        assert host.apply(file(head.format("1.1"), AUTH)).ok
        assert host.describe("checkout").version == "1.1"
        assert len(host.revisions) == revisions + 1


def test_an_apply_tells_what_does_not_fit(file):
    """As a start does; the change is done."""
    with Host.from_config(file(AUTH), observers=()) as host:
        (change,) = host.apply(file(AUTH, NOTIFY.replace("$auth.mail", "$auth"))).changes
        assert change.status == "done"
        assert "mail.notify does not take that: $: str is wanted, and dict is given" in change.faults[0].reason
        assert host.faults == change.faults
        assert host.apply(file(AUTH, NOTIFY)).ok
        assert not host.faults
