"""What is kept of a desired state comes back as it was written, and what two hosts write into it is that of both."""

from hypothesis import given
from hypothesis import strategies as st

from jackfield.config import PluginConfig, Secret, UpgradeConfig
from jackfield.desired.documents import Kept, from_plain, merged, to_plain
from jackfield.desired.ownership import Ownership, Written
from jackfield.desired.state import Refusal, Tried
from jackfield.wire.crossing import pack, unpack

NAMES = st.sampled_from("abc")
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5) | st.datetimes() | st.just(Secret("env:X")),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=6,
)
PLUGINS = st.builds(
    PluginConfig,
    NAMES,
    st.sampled_from(["a.py", "demo==1.0"]),
    version=st.none() | st.just("2"),
    options=st.dictionaries(st.text(max_size=3), VALUES, max_size=3),
    depends_on=st.just(()) | st.just(("z",)),
    upgrade=st.none() | st.builds(UpgradeConfig, share=st.none() | st.just(0.5), labels=st.just({"tier": "beta"})),
)


@st.composite
def ownerships(draw):
    """Any fields, by anybody."""
    fields = {}
    for kind, key, value in (
        ("plugin", "loaded", st.none() | PLUGINS),
        ("plugin", "running", st.none() | st.booleans()),
        ("route", "default", st.none() | st.sampled_from("12")),
    ):
        for name in draw(st.sets(NAMES)):
            fields[kind, name, key] = Written(draw(value), draw(value), draw(NAMES), "verb", draw(st.floats(0, 9)))
    return Ownership(fields)


REFUSALS = st.dictionaries(NAMES, st.builds(Refusal, st.tuples(PLUGINS, NAMES), NAMES, NAMES, st.floats(0, 9))).map(
    lambda found: {refusal.proposal[0].name: refusal for refusal in found.values()}
)
STABLE = st.lists(PLUGINS, max_size=3).map(lambda found: {each.name: each for each in found})
PLAN = {"steps": [0.1], "latency_ratio": float("inf"), "outcomes": ["crashed"]}
TRIALS = st.lists(
    st.builds(
        Tried,
        NAMES,
        NAMES,
        st.floats(0, 1),
        tenants=st.just(()) | st.just(("t",)),
        labels=st.just((("tier", "beta"),)),
        analysis=st.none() | st.just(PLAN),
        config=st.none() | PLUGINS,
    ),
    max_size=3,
).map(lambda found: {each.name: each for each in found})
STATES = st.builds(Kept, NAMES, NAMES, ownerships(), REFUSALS, STABLE, TRIALS)


@given(STATES)
def test_what_is_written_is_read_again(state):
    """Whatever options a plugin has, secrets as references."""
    assert from_plain(unpack(pack(to_plain(state)))) == state


@given(STATES, STATES, STATES)
def test_two_who_change_one_state_lose_nothing_of_each_other(before, one, two):
    """What only one of them changed is as that one wants it; what both did, as the later."""
    found = merged(one, before, two)
    for field in {*before.ownership.fields, *one.ownership.fields, *two.ownership.fields}:
        was, first, second = (each.ownership.fields.get(field) for each in (before, one, two))
        assert found.ownership.fields.get(field) == (second if second != was else first)
    for name in "abc":
        was, first, second = (each.refused.get(name) for each in (before, one, two))
        assert found.refused.get(name) == (second if second != was else first)
    assert merged(before, before, two) == two
    assert merged(one, before, before) == one
