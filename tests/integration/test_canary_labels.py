"""Canaries among the tenants with some labels: who is drawn, who never is, and what a change of labels does."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jackfield import Host, PluginError
from jackfield.operations.verbs import verbs

BETA = [f"b-{number}" for number in range(40)]
OTHERS = [f"o-{number}" for number in range(40)]


def configured(folder, beta=BETA, more=""):
    """Write a configuration in which some tenants have a label."""
    tables = [f'[tenants.{name}]\nlabels = {{ tier = "beta", region = "eu" }}' for name in beta]
    tables += [f"[tenants.{name}]" for name in (*BETA, *OTHERS) if name not in beta]
    file = folder / "jackfield.toml"
    file.write_text("\n".join([more, *tables]), "utf-8")
    return file


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    """Give a host with two versions of a function."""
    folder = tmp_path_factory.mktemp("labels")
    with Host.from_config(configured(folder), observers=()) as made:
        made.register("f", lambda: 1, version="1")
        made.register("f", lambda: 2, version="2")
        yield made


def who(host):
    """Name the tenants that get the version under trial."""
    return {tenant for tenant in (*BETA, *OTHERS) if host.call("f", tenant=tenant) == 2}


@settings(deadline=None, max_examples=25)
@given(share=st.floats(0, 1), more=st.floats(0, 1))
def test_the_share_is_drawn_among_those_who_have_the_labels(host, share, more):
    """It is sticky, raising it only adds, all of it is all of them, and nobody else is ever drawn."""
    share, more = sorted((share, more))
    canary = host.canary("f", version="2", share=share, labels={"tier": "beta"})
    try:
        first = who(host)
        canary.ramp(more)
        assert first <= who(host) <= {*BETA}
        canary.ramp(1.0)
        assert who(host) == {*BETA}
        assert host.call("f") == 1
        assert dict(canary.status.labels) == {"tier": "beta"}
    finally:
        canary.abort()
    assert who(host) == set()


@pytest.mark.parametrize(
    ("labels", "tenants", "found"),
    [
        ({"tier": "beta", "region": "eu"}, [], {*BETA}),
        ({"tier": "beta"}, ["o-1"], {*BETA, "o-1"}),
        ({}, [], {*BETA, *OTHERS}),
    ],
)
def test_who_matches(host, labels, tenants, found):
    """All labels must be there; tenants that are named try it in any case."""
    canary = host.canary("f", version="2", share=1.0, labels=labels, tenants=tenants)
    try:
        assert who(host) == found
    finally:
        canary.abort()


@pytest.mark.parametrize("labels", [{"tier": "gold"}, {"tier": "beta", "region": "us"}, {"colour": "beta"}])
def test_labels_that_nobody_has_are_refused(host, labels):
    """A trial that nobody could be in would look as if all were well."""
    with pytest.raises(PluginError, match="no tenant has the labels"):
        host.canary("f", version="2", share=1.0, labels=labels)


def test_labels_alone_are_all_that_have_them(host):
    """As of an upgrade."""
    canary = host.canary("f", version="2", labels={"tier": "beta"})
    try:
        assert who(host) == {*BETA}
    finally:
        canary.abort()


def test_a_change_of_labels_is_followed(host, tmp_path):
    """An apply draws anew among those who have them now."""
    canary = host.canary("f", version="2", share=1.0, labels={"tier": "beta"})
    try:
        host.apply(configured(tmp_path, BETA[:3]))
        assert who(host) == {*BETA[:3]}
        host.apply(configured(tmp_path))
        assert who(host) == {*BETA}
    finally:
        canary.abort()


def test_promoted_it_is_everybody_s(tmp_path):
    """With or without the labels."""
    with Host.from_config(configured(tmp_path), observers=()) as host:
        with host.update() as tx:
            tx.register("f", lambda: 1, version="1")
            tx.register("f", lambda: 2, version="2")
        host.canary("f", version="2", share=0.5, labels={"tier": "beta"}).promote()
        assert who(host) == {*BETA, *OTHERS}
        assert host.call("f") == 2


# --- [routes] ---------------------------------------------------------------------------------------------------------


def split(share, more=""):
    """Write a rule that splits a function among those with a label."""
    return f'[routes.f]\ndefault = "1"\nshares = {{ "2" = {share} }}\nlabels = {{ tier = "beta" }}\n{more}'


@pytest.fixture
def routed(tmp_path):
    """Give what makes a host of a rule, and what applies another one."""
    with Host.from_config(configured(tmp_path, more=split(0.5)), observers=()) as made:
        made.register("f", lambda: 1, version="1")
        made.register("f", lambda: 2, version="2")
        yield made


def test_a_rule_draws_among_those_who_have_the_labels(routed, tmp_path):
    """It is sticky, raising the share only adds, nobody else is ever drawn; a change of labels draws anew."""
    half = who(routed)
    assert half < {*BETA}
    assert half
    assert routed.call("f") == 1
    routed.apply(configured(tmp_path, more=split(0.8)))
    assert half <= who(routed) < {*BETA}
    routed.apply(configured(tmp_path, more=split(1.0)))
    assert who(routed) == {*BETA}
    routed.apply(configured(tmp_path, BETA[:3], more=split(1.0)))
    assert who(routed) == {*BETA[:3]}
    routed.apply(configured(tmp_path, more=split(0.5)))
    assert who(routed) == half


def test_a_rule_names_tenants_besides(routed, tmp_path):
    """They go where it says, drawn or not."""
    routed.apply(configured(tmp_path, more=split(1.0, 'tenants = { o-1 = "2", b-1 = "1" }\n')))
    assert who(routed) == {*BETA, "o-1"} - {"b-1"}


def test_a_rule_without_labels_draws_among_everybody(routed, tmp_path):
    """Labels that go are seen as those that come."""
    plan = routed.apply(configured(tmp_path, more=split(1.0).replace('labels = { tier = "beta" }', "")))
    assert [field.field for field in plan.changes[0].fields] == ["shares", "labels"]
    assert who(routed) == {*BETA, *OTHERS}
    assert routed.call("f") == 2


def test_a_rollback_draws_among_those_who_have_the_labels_now(routed, tmp_path):
    """What the history knows of tenants is past."""
    revision = routed.snapshot.revision
    routed.register("g", lambda: 0)
    routed.apply(configured(tmp_path, BETA[:3], more=split(0.5)))
    drawn = who(routed)
    routed.rollback(revision)
    assert who(routed) == drawn <= {*BETA[:3]}


def test_the_routes_of_a_host_show_its_labels(routed):
    """As the file has them."""
    (shown,) = verbs(routed)["routes"]({"pattern": "f"})
    assert (shown["split"]["shares"], shown["split"]["labels"]) == ({"2": 0.5}, {"tier": "beta"})
