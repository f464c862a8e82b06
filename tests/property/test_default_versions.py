"""Which version is the default: decided by rules and ranks, never by whose start was quicker."""

from hypothesis import given
from hypothesis import strategies as st

from jackfield.contract import specify
from jackfield.model.record import PluginRecord
from jackfield.model.route import Endpoint, Rule
from jackfield.model.snapshot import Snapshot
from jackfield.registry.change import Addition, Removal, applied, plan
from jackfield.registry.routes import redecided, with_default

PLUGINS = ("first", "second", "third", "fourth")


def one():
    return 1


def spec_of(plugin, version=None):
    return specify("f", one, version=version or f"{PLUGINS.index(plugin)}.0", plugin=plugin)


def change(snapshot, *operations):
    """Commit a transaction, with endpoints that nobody calls."""
    found = plan(snapshot, operations)
    return applied(snapshot, found, {spec: Endpoint(spec, len, len) for spec in found.added})


def start(snapshot, plugin, version=None):
    return change(snapshot, Addition(spec_of(plugin, version)))


def stop(snapshot, plugin):
    gone = [e for e in snapshot.routes["f"].endpoints.values() if e.spec.plugin == plugin]
    return change(snapshot, *(Removal("f", e.version, only=e.spec, succeed=True) for e in gone))


def default(snapshot):
    return snapshot.routes["f"].spec.plugin


DECLARED = Snapshot(plugins={name: PluginRecord(name) for name in PLUGINS})
ORDERS = st.permutations(PLUGINS)


@given(ORDERS)
def test_the_default_is_that_of_the_plugin_declared_first(order):
    """Of those that have started, in whatever order they came."""
    snapshot = DECLARED
    for count, plugin in enumerate(order, 1):
        snapshot = start(snapshot, plugin)
        assert default(snapshot) == min(order[:count], key=PLUGINS.index)


@given(ORDERS, st.lists(st.sampled_from(PLUGINS), max_size=8))
def test_a_restart_moves_no_default(order, restarts):
    """Its functions go and come back; meanwhile the next one serves."""
    snapshot = DECLARED
    for plugin in order:
        snapshot = start(snapshot, plugin)
    for plugin in restarts:
        snapshot = stop(snapshot, plugin)
        assert default(snapshot) == ("second" if plugin == "first" else "first")
        snapshot = start(snapshot, plugin)
        assert default(snapshot) == "first"


@given(ORDERS, st.sampled_from(PLUGINS), st.lists(st.sampled_from(PLUGINS), max_size=8))
def test_what_an_operator_decided_survives_restarts(order, chosen, restarts):
    """The rule is about the version, registered or not."""
    snapshot = DECLARED
    for plugin in order:
        snapshot = start(snapshot, plugin)
    rules = with_default(snapshot.rules, {"f": f"{PLUGINS.index(chosen)}.0"})
    snapshot = redecided(snapshot, ["f"], rules=rules)
    for plugin in restarts:
        snapshot = start(stop(snapshot, plugin), plugin)
        assert default(snapshot) == chosen


@given(ORDERS, st.sampled_from(PLUGINS), st.booleans(), st.lists(st.sampled_from(["1.1", "same", "2.0"]), max_size=4))
def test_a_reload_takes_the_default_along(order, chosen, ruled, labels):
    """The new label comes in the transaction in which the old one goes, and inherits what was said of that."""
    snapshot = DECLARED
    for plugin in order:
        snapshot = start(snapshot, plugin)
    if ruled:
        rules = with_default(snapshot.rules, {"f": f"{PLUGINS.index(chosen)}.0"})
        snapshot = redecided(snapshot, ["f"], rules=rules)
    before = default(snapshot)
    for number, label in enumerate(labels):
        old = next(e for e in snapshot.routes["f"].endpoints.values() if e.spec.plugin == chosen)
        version = f"{old.version.partition('+')[0] if label == 'same' else f'{number + 7}.{label}'}+{number:08x}"
        removal = Removal("f", old.version, only=old.spec, succeed=True)
        snapshot = change(snapshot, Addition(spec_of(chosen, version)), removal)
        assert default(snapshot) == before
        snapshot = start(stop(snapshot, chosen), chosen, version)
        assert default(snapshot) == before


@given(ORDERS)
def test_what_is_registered_by_hand_stands_behind_the_plugins_of_that_time(order):
    """And before those that are declared later; restarts of either move nothing."""
    declared = Snapshot(plugins={name: PluginRecord(name) for name in PLUGINS[:2]})
    by_hand = Addition(specify("f", one, version="9.0"))
    snapshot = change(declared, by_hand)
    late = Snapshot(snapshot.revision, snapshot.routes, DECLARED.plugins)
    for plugin in order:
        late = start(late, plugin)
    assert [e.spec.plugin for e in late.routes["f"].endpoints.values()] == ["first", "second", "", "third", "fourth"]
    for plugin in order:
        late = start(stop(late, plugin), plugin)
    assert [e.spec.plugin for e in late.routes["f"].endpoints.values()] == ["first", "second", "", "third", "fourth"]


def test_a_rule_also_means_the_label_of_a_reload():
    """`1.0` in the configuration is `1.0+digest` when there is no `1.0`; an exact match comes first."""
    snapshot = Snapshot(plugins=DECLARED.plugins, rules={"f": Rule("1.0")})
    snapshot = start(start(snapshot, "first", "0.9"), "second", "1.0+0a0a0a0a")
    assert default(snapshot) == "second"
    assert default(start(snapshot, "third", "1.0")) == "third"
