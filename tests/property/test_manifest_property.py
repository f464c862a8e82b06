"""Any manifest is written and read back; any bytes give a manifest or a `ConfigError`; grants are never widened."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from jackfield.config import WorkerConfig
from jackfield.errors import ConfigError
from jackfield.manifests import Manifest, Probe, more, permission
from jackfield.manifests.propose import proposed, written
from jackfield.manifests.read import parse_manifest
from jackfield.model.grants import Grants, Resources

WORDS = st.from_regex(r"[a-z][a-z0-9_]{0,6}", fullmatch=True)
NAMES = st.lists(WORDS, min_size=1, max_size=3).map(".".join)
PATTERNS = NAMES | NAMES.map(lambda name: f"{name}.*") | st.just("*")
PATHS = st.lists(st.sampled_from(["a", "b", "data in", "ü"]), max_size=3).map(lambda parts: "/" + "/".join(parts))
CAPABILITIES = st.one_of(
    st.sampled_from(["network:outbound", "storage:readonly", "storage:scratch"]),
    st.builds(lambda host, port: f"network:outbound:{host}:{port}", st.sampled_from("abc"), st.integers(1, 3)),
    PATHS.map("storage:readonly:{}".format),
    PATHS.map("storage:{}".format),
    st.builds("{}:{}".format, st.sampled_from(["calls", "publish", "subscribe"]), PATTERNS),
)
LISTS = st.lists(CAPABILITIES, max_size=6)
RESOURCES = st.builds(
    Resources,
    st.none() | st.integers(1, 10**8).map(lambda number: number / 1000),
    st.none() | st.integers(1, 2**50),
    st.none() | st.integers(1, 10**6),
    st.none() | st.integers(1, 10**6),
)
PROBES = st.none() | st.builds(Probe, NAMES, st.integers(1, 9_999).map(lambda number: number / 100))
MANIFESTS = st.builds(
    Manifest,
    name=st.none() | st.sampled_from(["ocr", "true", "1.10", "null", "no", "12", "0x10", "~x"]),
    version=st.none() | st.sampled_from(["1.0", "1.10", "2", "1e3", "2024.01.01", "1.0+g12"]),
    functions=st.none() | st.lists(NAMES, unique=True, max_size=3).map(tuple),
    resources=RESOURCES,
    asks=st.builds(lambda texts, eager: Grants.of(texts, eager=eager), LISTS, st.booleans()),
    healthcheck=PROBES,
    graceful_shutdown=PROBES,
    idempotent=st.lists(PATTERNS, max_size=3).map(tuple),
    restart=st.sampled_from([None, "never", "on-failure", "always"]),
)


def parse(text):
    return parse_manifest(text.encode() if isinstance(text, str) else text, Path("m.yaml"))


@given(MANIFESTS)
def test_what_is_written_is_read_back(manifest):
    """Whatever its texts look like to YAML."""
    text = written(manifest)
    if text.strip() != "{}":
        assert parse(text) == manifest


@given(LISTS)
def test_capabilities_are_rendered_as_they_are_read(capabilities):
    """`Grants.of` and `capabilities` are each other's inverse."""
    grants = Grants.of(capabilities)
    assert Grants.of(grants.capabilities()) == grants


@given(WORDS, st.lists(NAMES, unique=True))
def test_a_proposal_is_a_manifest_that_asks_for_nothing(name, functions):
    """It can be shipped as it is."""
    found = parse(proposed(name, functions))
    assert (found.name, sorted(found.functions or ())) == (name, sorted(functions))
    assert found.asks == Grants()


PIECES = st.sampled_from(
    ["name", "version", ": ", "\n", "- ", "[", "]", "{", "}", "&a ", "*a", "!!x ", "'", '"', "|", ">", "#", "---", "? ",
     "resources", "cpu", "500m", "capabilities", "network:outbound", "lifecycle", "healthcheck", "/h?timeout=3s", "  ",
     "<<", "true", "~", "1e9", ", ", "%YAML", "\t", "é", "\x00"]
)  # fmt: skip


@given(st.lists(PIECES, max_size=30).map("".join) | st.text(max_size=60))
def test_any_text_gives_a_manifest_or_faults(text):
    """Never another exception, and every fault says what is wrong."""
    try:
        found = parse(text.encode("utf-8", "surrogatepass"))
    except ConfigError as error:
        faults = error.faults
    else:
        assert isinstance(found, Manifest)
        return
    assert faults
    assert all(fault.stage == "manifest" and fault.reason for fault in faults)


@given(LISTS, LISTS)
def test_what_is_granted_is_within_what_was_asked_and_what_was_allowed(asks, allow):
    """The rule of grants: neither side alone is enough (a folder of its own that goes with it apart)."""
    asked, allowed = Grants.of(asks), Grants.of(allow)
    found = permission(Manifest(asks=asked), WorkerConfig(allow=tuple(allow)))
    assert more(asked, found.grants) == ()
    assert more(allowed, found.grants) == ()
    if not found.missing:
        assert more(found.grants, asked) == ()


@given(LISTS, LISTS)
def test_the_line_that_is_missing_is_enough(asks, allow):
    """Whoever allows what is named gets all that was asked for."""
    manifest = Manifest(asks=Grants.of(asks))
    found = permission(manifest, WorkerConfig(allow=tuple(allow)))
    again = permission(manifest, WorkerConfig(allow=(*allow, *found.missing)))
    assert again.missing == ()
    assert more(again.grants, manifest.asks) == ()


@given(RESOURCES, RESOURCES)
def test_narrowing_takes_the_smaller(one, other):
    """In either order."""
    narrowed = one.narrowed(other)
    assert narrowed == other.narrowed(one)
    assert narrowed.narrowed(one) == narrowed
