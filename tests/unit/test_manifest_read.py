"""A manifest: what it may say, every fault of it at once with its line and a fix, and hostile ones refused."""

import json
from importlib.resources import files
from pathlib import Path

import jsonschema
import pytest

from jackfield.errors import ConfigError
from jackfield.manifests import Manifest, Probe
from jackfield.manifests.read import SIZE_LIMIT, parse_manifest, read_manifest
from jackfield.manifests.schema import json_schema, schema_text
from jackfield.model.grants import Endpoint, Grants, Resources

SPECIFIED = """\
name: payment-validator
version: 1.4.0
resources:
  cpu: 500m
  memory: 1Gi
capabilities:
  - network:outbound
  - storage:readonly
lifecycle:
  healthcheck: /health?timeout=3s
  graceful-shutdown: /shutdown?timeout=15s
"""

TEN_FAULTS = """\
nmae: ocr
version: 1 0
functions:
  - ocr.read
  - a b
resources:
  cpu: fast
  memory: 1 GB
capabilities:
  - netwrok:outbound
  - storage:data
lifecycle:
  healthchek: /health
  graceful-shutdown: /a/b
restart: sometimes
"""


def parse(text):
    return parse_manifest(text.encode() if isinstance(text, str) else text, Path("plugin-manifest.yaml"))


def faults_of(text):
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert all(fault.stage == "manifest" and fault.reason for fault in caught.value.faults)
    return [(fault.entry, f"{fault.reason} → {fault.fix}") for fault in caught.value.faults]


@pytest.mark.parametrize(
    "text",
    [
        SPECIFIED,
        SPECIFIED.replace("capabilities:\n  - network:outbound\n  - storage:readonly\n", "").replace(
            "  memory: 1Gi\n", "  memory: 1Gi\n  capabilities: [network:outbound, storage:readonly]\n"
        ),
        SPECIFIED.replace("500m", '"500m"').replace("/health?timeout=3s", '"/health?timeout=3s"'),
        SPECIFIED.replace("\n", "\r\n"),
        "\ufeff" + SPECIFIED,
        f"---\n{SPECIFIED}...\n",
    ],
    ids=["as it stands", "capabilities among the resources", "quoted", "CRLF", "byte order mark", "markers"],
)
def test_the_manifest_of_the_specification_loads(text):
    """`/health?timeout=3s` names `health`; `storage:readonly` is what every worker has."""
    assert parse(text) == Manifest(
        name="payment-validator",
        version="1.4.0",
        resources=Resources(cpu=0.5, memory=1 << 30),
        asks=Grants(network=()),
        healthcheck=Probe("health", 3.0),
        graceful_shutdown=Probe("shutdown", 15.0),
    )


def test_ten_faults_show_ten_with_lines():
    """Keys, names, quantities, capabilities and probes are judged together."""
    found = faults_of(TEN_FAULTS)
    assert [entry for entry, _ in found] == [
        "nmae (line 1)",
        "version (line 2)",
        "functions[1] (line 5)",
        "resources.cpu (line 7)",
        "resources.memory (line 8)",
        "capabilities[0] (line 10)",
        "capabilities[1] (line 11)",
        "lifecycle.healthchek (line 13)",
        "lifecycle.graceful-shutdown (line 14)",
        "restart (line 15)",
    ]
    assert "did you mean 'name'?" in found[0][1]
    assert "did you mean 'network'?" in found[5][1]
    assert "did you mean 'healthcheck'?" in found[7][1]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("version: 1.10", Manifest(version="1.10")),
        ("version: 1", Manifest(version="1")),
        ("version:\nname: ~\ncapabilities:\n", Manifest()),
        ("functions: []", Manifest(functions=())),
        ("idempotent: true", Manifest(idempotent=("*",))),
        ("idempotent: false", Manifest()),
        ("idempotent: [ocr.read, 'text.*']", Manifest(idempotent=("ocr.read", "text.*"))),
        ("restart: on-failure", Manifest(restart="on-failure")),
        ("imports: eager", Manifest(asks=Grants(eager=True))),
        ("imports: lazy", Manifest()),
        (
            "resources: {cpu: 2, memory: 1048576, pids: 8, open_files: 64}",
            Manifest(resources=Resources(2, 1 << 20, 8, 64)),
        ),
        ("resources: {cpu: 0.25, memory: '2GB'}", Manifest(resources=Resources(0.25, 2 * 10**9))),
        ("lifecycle: {healthcheck: health}", Manifest(healthcheck=Probe("health", 5.0))),
        ("lifecycle: {healthcheck: 'ocr.health?timeout=250ms'}", Manifest(healthcheck=Probe("ocr.health", 0.25))),
        (
            "capabilities: ['network:outbound:db:5432', 'network:outbound:[::1]:80']",
            Manifest(asks=Grants(network=(Endpoint("db", 5432), Endpoint("::1", 80)))),
        ),
        (
            "capabilities:\n- network:outbound: [db:5432, 'api.example.com:443']\n- storage:readonly: [/data]\n",
            Manifest(
                asks=Grants(network=(Endpoint("db", 5432), Endpoint("api.example.com", 443)), read=(Path("/data"),))
            ),
        ),
        (
            "capabilities: [storage:scratch, storage:/var/x, 'calls:text.*', publish:a.B, subscribe:c.D]",
            Manifest(
                asks=Grants(
                    write=(Path("/var/x"),), scratch=True, calls=("text.*",), publish=("a.B",), subscribe=("c.D",)
                )
            ),
        ),
    ],
)
def test_what_a_manifest_may_say(text, expected):
    """And what it comes to."""
    assert parse(text) == expected


@pytest.mark.parametrize(
    ("text", "entry", "said"),
    [
        ("", "text (line 1)", "it says nothing → begin with name"),
        ("- a", "text (line 1)", "it is no table of keys"),
        ("name: a\nname: b\n", "name (line 2)", "stands here a second time, first on line 1"),
        ("resources:\n  cpu: 1\n  cpu: 2\n", "resources.cpu (line 3)", "a second time, first on line 2"),
        ("name: a\n---\nname: b\n", "text (line 2)", "a second document begins here"),
        ("name: 'a", "text (line 1)", "not valid YAML: while scanning a quoted scalar"),
        ("name: a\n\tversion: 1", "text (line 2)", "not valid YAML"),
        ("name: !!python/object/apply:os.system [x]", "name (line 1)", "it has the tag"),
        ("name: !include x", "name (line 1)", "it has the tag '!include'"),
        ("name: &a x", "name (line 1)", "it has an anchor"),
        ("name: *a", "name (line 1)", "it is an alias"),
        ("<<: {name: a}", "text (line 1)", "it merges another table"),
        ("name: a\n? [b]\n: c\n", "text (line 2)", "a key must be a text"),
        ("lifecycel:\n", "lifecycel (line 1)", "did you mean 'lifecycle'?"),
        ("restart: no", "restart (line 1)", "unknown value 'no'"),
        ("restart: true", "restart (line 1)", "got true"),
        ("imports: eagre", "imports (line 1)", "did you mean 'eager'?"),
        ("name: [a]", "name (line 1)", "expected a text that is not empty, got an array"),
        ("functions: ocr.read", "functions (line 1)", "expected an array"),
        ("functions: [a, a]", "functions[1] (line 1)", "'a' is there twice"),
        ("functions: [~]", "functions[0] (line 1)", "got nothing"),
        ("resources: {cpu: 0}", "resources.cpu (line 1)", "expected cores as in '500m' or 2"),
        ("resources: {cpu: .inf}", "resources.cpu (line 1)", "expected cores"),
        ("resources: {memory: -1}", "resources.memory (line 1)", "expected bytes as in '512Mi'"),
        ("resources: {pids: 1.5}", "resources.pids (line 1)", "a whole number from 1"),
        ("resources: {gpu: 1}", "resources.gpu (line 1)", "unknown key"),
        ("capabilities: [network:inbound]", "capabilities[0] (line 1)", "write 'network:outbound'"),
        (
            "capabilities:\n- network:outbound: [db]\n",
            'capabilities[0]."network:outbound"[0] (line 2)',
            "not HOST:PORT",
        ),
        ("capabilities: ['network:outbound:db:99999']", "capabilities[0] (line 1)", "99999 is not a port"),
        ("capabilities: ['storage:/a/../etc']", "capabilities[0] (line 1)", "goes up again"),
        ("capabilities: [3]", "capabilities[0] (line 1)", "expected a capability"),
        ("lifecycle: {healthcheck: '/health?tiemout=3s'}", "lifecycle.healthcheck (line 1)", "names no function"),
        ("lifecycle: {healthcheck: '/health?timeout=0s'}", "lifecycle.healthcheck (line 1)", "names no function"),
        ("name: \x07", "text (line 1)", "the character U+0007 is not allowed"),
        ("name: a\nx: \ufffe", "text (line 2)", "the character U+FFFE"),
        ("name: grüße".encode("latin-1"), "text (line 1)", "not UTF-8 text"),
        ("name: a".encode("utf-16"), "text (line 1)", "not UTF-8 text"),
        (b"a: " + b"x" * SIZE_LIMIT, "file", "larger than 131,072 bytes"),
        ("[" * 100_000, "text (line 1)", "nested more than 16 levels deep"),
        ("{a: " * 10_000, "text (line 1)", "nested more than 16 levels deep"),
        ("".join(f"{'  ' * depth}a:\n" for depth in range(100)), "text (line 18)", "nested more than 16"),
    ],
)
def test_each_fault_has_its_place_and_a_fix(text, entry, said):
    """One mistake gives one fault, whatever it is."""
    ((found, message),) = faults_of(text)
    assert found == entry
    assert said in message


def test_a_billion_laughs_are_refused_without_being_told():
    """Each anchor and alias is a fault; nothing is multiplied."""
    text = 'a0: &a0 ["lol"]\n' + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12))
    found = faults_of(text)
    assert len(found) < 200
    assert any("alias" in said for _, said in found)


def test_a_file_that_cannot_be_read_is_a_fault_of_the_file(tmp_path):
    """A folder, one that is not there."""
    with pytest.raises(ConfigError, match="it is a folder"):
        read_manifest(tmp_path)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_manifest(tmp_path / "gone.yaml")
    (tmp_path / "large.yaml").write_text("#" * (SIZE_LIMIT + 1))
    with pytest.raises(ConfigError, match="131,072 are allowed"):
        read_manifest(tmp_path / "large.yaml")


def test_a_manifest_is_compared_with_the_metadata_that_ships_it():
    """Name in any spelling, version, functions in both directions."""
    manifest = parse("name: Demo_OCR\nversion: 1.0\nfunctions: [ocr.read]\n")
    assert manifest.disagreements("demo-ocr", "1.0", ["ocr.read"]) == ()
    assert manifest.disagreements("demo-ocr", "1.0.0", ["ocr.read"]) == ()
    reasons = [fault.reason for fault in manifest.disagreements("ocr", "2.0", ["ocr.write"])]
    assert [reason.split(",")[0] for reason in reasons] == [
        "it says name: Demo_OCR",
        "it says version: 1.0",
        "it names the function ocr.read",
        "an entry point advertises ocr.write",
    ]
    assert parse("name: ocr").disagreements("ocr", "2.0", ["ocr.write"]) == ()


def test_the_shipped_schema_is_the_models():
    """After a change of the model, write `jackfield.manifests.schema.schema_text()` to the file beside that module."""
    shipped = files("jackfield.manifests").joinpath("plugin-manifest.schema.json").read_text(encoding="utf-8")
    assert shipped == schema_text()
    assert json.loads(json.dumps(json_schema())) == json_schema()


@pytest.mark.parametrize("valid", [True, False])
def test_an_editor_agrees(valid):
    """The specification's manifest fits the schema; an unknown key, a wrong quantity or capability does not."""
    validator = jsonschema.Draft202012Validator(json_schema())
    good = {
        "name": "a",
        "version": None,
        "resources": {"cpu": "500m", "memory": "1Gi"},
        "capabilities": ["network:outbound", {"storage:readonly": ["/data"]}],
        "lifecycle": {"healthcheck": "/health?timeout=3s", "graceful-shutdown": "/shutdown?timeout=15s"},
        "idempotent": True,
        "imports": "eager",
    }
    if valid:
        validator.validate(good)
        return
    for wrong in (
        {"nmae": "a"},
        {"resources": {"cpu": "fast"}},
        {"capabilities": ["netwrok:outbound"]},
        {"lifecycle": {"graceful_shutdown": "/x"}},
        {"lifecycle": {"healthcheck": "/a/b"}},
        {"idempotent": "yes"},
    ):
        assert not validator.is_valid(good | wrong), wrong
