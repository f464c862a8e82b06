"""The operator's switches: applied before anything is imported, by the names that are printed."""

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackfield.plugins.discovery import Switches, scan


@pytest.fixture
def site(tmp_path):
    """Two plugins that share a name, and one that is broken."""
    for name in ("alpha-text", "zeta"):
        directory = tmp_path / f"{name.replace('-', '_')}-1.0.dist-info"
        directory.mkdir()
        (directory / "METADATA").write_text(f"Name: {name}\nVersion: 1.0\n")
        (directory / "entry_points.txt").write_text(
            f"[jackfield.functions]\ntext.slugify = m:a\n{name[0]}.only = m:b\n"
        )
    (tmp_path / "broken-1.0.dist-info").mkdir()
    return str(tmp_path)


def look(site, **environ):
    return scan([site], cache=False, switches=Switches.from_environment(environ))


def served(catalogue):
    return {one.name: one.plugin for one in catalogue.candidates}


@pytest.mark.parametrize("value", ["", "0", " ", " 0 "])
def test_unset_empty_and_zero_mean_off(value):
    """For each of the four."""
    names = ("JACKFIELD_LOAD_PLUGINS", "JACKFIELD_DISABLE_PLUGINS", "JACKFIELD_STRICT", "JACKFIELD_NO_CACHE")
    assert Switches.from_environment(dict.fromkeys(names, value)) == Switches() == Switches.from_environment({})


def test_one_means_on_and_lists_are_separated_by_commas():
    """Space around the names and empty parts do not matter."""
    environ = {
        "JACKFIELD_LOAD_PLUGINS": "a, b,,a",
        "JACKFIELD_DISABLE_PLUGINS": "c",
        "JACKFIELD_STRICT": "1",
        "JACKFIELD_NO_CACHE": "1",
    }
    assert Switches.from_environment(environ) == Switches(("a", "b"), ("c",), strict=True, no_cache=True)


def test_a_flag_that_is_neither_on_nor_off_is_a_fault(site):
    """It is taken as off, and said."""
    catalogue = look(site, JACKFIELD_STRICT="maybe")
    (fault,) = [fault for fault in catalogue.faults if fault.stage == "environment"]
    assert (fault.entry, "maybe" in fault.reason) == ("JACKFIELD_STRICT", True)
    assert not Switches.from_environment({"JACKFIELD_STRICT": "false"}).strict
    assert Switches.from_environment({"JACKFIELD_STRICT": "True"}).strict


@pytest.mark.parametrize("spelling", ["alpha-text", "Alpha_Text", "ALPHA.TEXT"])
def test_a_disabled_plugin_stays_visible_and_the_other_serves_its_name(site, spelling):
    """The printed name works, and so does every spelling of it that pip takes."""
    catalogue = look(site, JACKFIELD_DISABLE_PLUGINS=spelling)
    assert served(catalogue) == {"text.slugify": "zeta", "z.only": "zeta"}
    assert {(one.candidate.name, one.switch) for one in catalogue.disabled} == {
        ("text.slugify", "JACKFIELD_DISABLE_PLUGINS"),
        ("a.only", "JACKFIELD_DISABLE_PLUGINS"),
    }
    assert catalogue.shadowed == ()
    assert [fault.plugin for fault in catalogue.faults] == ["broken"]
    assert "alpha-text" in catalogue.plugins
    explained = catalogue.explain("a.only")
    assert (explained.served, [one.switch for one in explained.disabled]) == ((), ["JACKFIELD_DISABLE_PLUGINS"])


def test_only_the_plugins_to_load_load(site):
    """The others are disabled by that very switch; their faults go with them."""
    catalogue = look(site, JACKFIELD_LOAD_PLUGINS="zeta")
    assert served(catalogue) == {"text.slugify": "zeta", "z.only": "zeta"}
    assert {one.switch for one in catalogue.disabled} == {"JACKFIELD_LOAD_PLUGINS"}
    assert catalogue.faults == ()


def test_a_broken_plugin_can_be_disabled(site):
    """Its fault goes, so that a strict host starts."""
    catalogue = look(site, JACKFIELD_DISABLE_PLUGINS="broken,zeta")
    assert catalogue.faults == ()


def test_disabling_beats_loading(site):
    """A name in both lists stays out."""
    assert look(site, JACKFIELD_LOAD_PLUGINS="zeta", JACKFIELD_DISABLE_PLUGINS="zeta").candidates == ()


def test_an_unknown_name_is_a_fault_with_close_names(site):
    """A switch with a slip in it must not fail silently."""
    catalogue = look(site, JACKFIELD_DISABLE_PLUGINS="alpha-txt,nothing-like-it")
    slip, unknown = (fault for fault in catalogue.faults if fault.stage == "environment")
    assert (slip.entry, slip.fix) == ("JACKFIELD_DISABLE_PLUGINS", "did you mean alpha-text?")
    assert "no plugin is called nothing-like-it" in unknown.reason
    assert "pluginctl list" in unknown.fix


def test_switches_can_be_applied_later_and_replaced(site):
    """`select` starts from what was found, not from what an earlier selection left; other plugins may be named too."""
    catalogue = scan([site], cache=False)
    narrowed = catalogue.select(Switches(disable=("alpha-text", "configured")), also=["configured"])
    assert narrowed.find("text.slugify").plugin == "zeta"
    assert not [fault for fault in narrowed.faults if fault.stage == "environment"]
    assert served(narrowed.select(Switches())) == served(catalogue)


@given(st.dictionaries(st.sampled_from([f.upper() for f in attrs.fields_dict(Switches)]), st.text()))
def test_no_value_whatever_raises(values):
    """The environment is outside anyone's control."""
    environ = {f"JACKFIELD_{name}": value for name, value in values.items()}
    environ |= {f"JACKFIELD_{name}_PLUGINS": value for name, value in values.items()}
    switches = Switches.from_environment(environ)
    assert all(str(fault).isprintable() for fault in (*switches.faults, *switches.unknown(["some-plugin"])))
