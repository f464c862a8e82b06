"""Grants: a manifest asks, `allow` answers, and nothing is had that not both say."""

import pytest

from jackfield.config import WorkerConfig
from jackfield.manifests import Manifest, more, permission
from jackfield.model.grants import Grants, Resources


def asking(*capabilities, **keys):
    return Manifest(asks=Grants.of(capabilities), **keys)


@pytest.mark.parametrize(
    ("asks", "allow", "granted", "missing"),
    [
        ([], [], [], []),
        ([], ["network:outbound"], [], []),
        (["network:outbound"], [], [], ["network:outbound"]),
        (["network:outbound"], ["all"], ["network:outbound"], []),
        (["network:outbound"], ["network:outbound"], ["network:outbound"], []),
        (["network:outbound"], ["network:outbound:a:1"], ["network:outbound:a:1"], ["network:outbound"]),
        (["network:outbound:a:1"], ["network:outbound"], ["network:outbound:a:1"], []),
        (
            ["network:outbound:a:1", "network:outbound:b:1"],
            ["network:outbound:a:1"],
            ["network:outbound:a:1"],
            ["network:outbound:b:1"],
        ),
        (["network:outbound:a:1"], ["network:outbound:b:1"], [], ["network:outbound:a:1"]),
        (["network:outbound:A.example:1"], ["network:outbound:a.EXAMPLE:1"], ["network:outbound:a.example:1"], []),
        (["storage:readonly"], [], [], []),
        (["storage:scratch"], [], ["storage:scratch"], []),
        (["storage:readonly:/data/in"], ["storage:readonly:/data"], ["storage:readonly:/data/in"], []),
        (
            ["storage:readonly:/data"],
            ["storage:readonly:/data/in"],
            ["storage:readonly:/data/in"],
            ["storage:readonly:/data"],
        ),
        (["storage:readonly:/database"], ["storage:readonly:/data"], [], ["storage:readonly:/database"]),
        (["storage:readonly:/data"], ["storage:/data"], ["storage:readonly:/data"], []),
        (["storage:/data"], ["storage:readonly:/data"], ["storage:readonly:/data"], ["storage:/data"]),
        (["storage:/data"], ["storage:/"], ["storage:/data"], []),
        (["calls:text.slugify"], ["calls:text.*"], ["calls:text.slugify"], []),
        (["calls:text.*"], ["calls:text.slugify"], ["calls:text.slugify"], ["calls:text.*"]),
        (["calls:*"], ["calls:text.*"], ["calls:text.*"], ["calls:*"]),
        (["calls:text"], ["calls:text.*"], [], ["calls:text"]),
        (["publish:orders.Paid"], ["subscribe:orders.Paid"], [], ["publish:orders.Paid"]),
        (
            ["publish:mine.events.Done", "subscribe:mine.events.*"],
            [],
            ["publish:mine.events.Done", "subscribe:mine.events.*"],
            [],
        ),
        (["publish:mines.Done"], [], [], ["publish:mines.Done"]),
        (["publish:*"], [], [], ["publish:*"]),
    ],
)
def test_what_is_granted_and_what_is_missing(asks, allow, granted, missing):
    """The narrower of what both say; the rest of what is asked for is named."""
    found = permission(asking(*asks), WorkerConfig(allow=tuple(allow)), own={"mine"})
    assert list(found.grants.capabilities()) == granted
    assert list(found.missing) == missing


def test_the_line_that_is_missing_keeps_what_is_there():
    """It can be put in the place of the one that stands there."""
    found = permission(asking("calls:a.*", "network:outbound"), WorkerConfig(allow=("calls:a.*",)))
    assert found.allow == 'allow = ["calls:a.*", "network:outbound"]'


def test_without_a_manifest_what_is_allowed_is_granted():
    """`all` of nothing is nothing."""
    found = permission(None, WorkerConfig(allow=("calls:a.*", "storage:scratch"), memory="1Mi"))
    assert found.grants == Grants.of(["calls:a.*", "storage:scratch"])
    assert found.resources == Resources(memory=1 << 20)
    assert permission(None, WorkerConfig(allow=("all",))).grants == Grants()


def test_resources_are_narrowed_and_never_widened():
    """The smaller of what manifest and configuration say; where one says nothing, the other."""
    manifest = asking(resources=Resources(cpu=0.5, memory=100, open_files=10))
    worker = WorkerConfig(cpu=2, memory="50", pids=4)
    assert permission(manifest, worker).resources == Resources(cpu=0.5, memory=50, pids=4, open_files=10)


def test_what_is_allowed_and_not_asked_for_is_told():
    """So that a grant that nobody needs any more can go."""
    found = permission(asking("calls:a"), WorkerConfig(allow=("calls:a", "calls:b")))
    assert found.unused == ("calls:b",)


def test_an_upgrade_that_asks_for_more_is_told_what():
    """Compared with what the version before asked for."""
    old, new = Grants.of(["network:outbound:a:1"]), Grants.of(["network:outbound:a:1", "storage:/x", "storage:scratch"])
    assert more(old, new) == ("storage:/x",)
    assert more(new, old) == ()
