"""Plugins that are importable by a public name: modules and distributions."""

import sys

import pytest

from jackfield.config import PluginConfig
from jackfield.errors import PluginError
from jackfield.plugins.discovery import Catalogue, Switches, scan
from jackfield.plugins.loading import carries_hooks, load_bundle, private_modules, purge, refuse_reload


@pytest.fixture
def site(tmp_path, monkeypatch):
    """Install distributions into a directory on `sys.path`; what was imported of it is forgotten."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)

    def install(modules, name=None, entries="", version="1.2"):
        for file, text in modules.items():
            place = tmp_path / file
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text, encoding="utf-8")
        if name is not None:
            info = tmp_path / f"{name.replace('-', '_')}-{version}.dist-info"
            info.mkdir()
            (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
            (info / "entry_points.txt").write_text(entries)

    install.catalogue = lambda **given: scan([str(tmp_path)], cache=False, **given)
    yield install
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


CODE = """
from jackfield import function, hookimpl, provides
class Engine: pass
@provides
def engine() -> Engine: return Engine()
@function(timeout=3)
def score(x: int) -> int: return x + 1
def plain(): return "plain"
class Billing:
    def start(self): ...
    def charge(self, amount: int) -> int: return amount
class Audit:
    @hookimpl
    def jackfield_registered(self, function): ...
"""

ENTRIES = """
[jackfield.functions]
risk.score = risk_pkg.core:score
risk.gone = risk_pkg.core:gone
bad name = risk_pkg.core:score
[jackfield.plugins]
risk = risk_pkg.core:Billing
second = risk_pkg.core:Audit
[jackfield.providers]
engine = risk_pkg.core:engine
[jackfield.hooks]
audit = risk_pkg.core:Audit
"""


def test_a_module_brings_what_is_marked_in_it(site):
    """Under its public name, imported once; it cannot be purged or reloaded."""
    site({"shop_mod.py": CODE})
    loaded = load_bundle(PluginConfig("shop", "shop_mod"), Catalogue())
    assert [(spec.name, spec.version, spec.policy.timeout) for spec in loaded.functions] == [("shop.score", "0", 3)]
    assert [provider.key.type.__name__ for provider in loaded.providers] == ["Engine"]
    assert [type(made.stranger) for made in loaded.hooks] == [sys.modules["shop_mod"].Audit]
    assert (loaded.reloadable, private_modules(loaded), loaded.digest, loaded.object) == (False, (), "", None)
    purge(loaded)
    assert "shop_mod" in sys.modules
    assert load_bundle(PluginConfig("shop", "shop_mod"), Catalogue()).functions[0].target is loaded.functions[0].target


def test_an_object_reference_is_the_plugin_object(site):
    """A class with its methods waiting for the object the host makes."""
    site({"shop_mod.py": CODE})
    config = PluginConfig(
        "shop", "shop_mod:Billing", version="2.0", functions={"a": "charge", "b": "shop_mod:plain", "c": "plain"}
    )
    loaded = load_bundle(config, Catalogue())
    assert loaded.object is sys.modules["shop_mod"].Billing
    assert [spec.key for spec in loaded.bound(loaded.object())] == ["b@2.0", "a@2.0"]
    assert [spec.key for spec in loaded.functions] == ["b@2.0"]
    assert loaded.faults[0].reason == "Billing has no attribute 'plain'"


def test_a_distribution_brings_what_it_advertises(site):
    """Names as advertised, the configured name as the plugin, its own version; faulty entries are left out alone."""
    site({"risk_pkg/core.py": CODE}, "risk-pkg", ENTRIES)
    loaded = load_bundle(PluginConfig("risk", "risk-pkg"), site.catalogue())
    (spec,) = loaded.functions
    assert (spec.key, spec.plugin, spec.distribution, spec.policy.timeout) == ("risk.score@1.2", "risk", "risk-pkg", 3)
    assert (loaded.version, loaded.distribution, loaded.reloadable) == ("1.2", "risk-pkg", False)
    assert loaded.object is sys.modules["risk_pkg.core"].Billing
    assert [provider.plugin for provider in loaded.providers] == ["risk"]
    assert [type(made.stranger) for made in loaded.hooks] == [sys.modules["risk_pkg.core"].Audit]
    assert {(fault.stage, fault.entry) for fault in loaded.faults} == {
        ("name", "bad name"),
        ("attribute", "risk.gone"),
        ("duplicate", "second"),
    }


def test_the_configuration_replaces_what_a_distribution_advertises(site):
    """Its functions; its version and limits too. An attribute must say its module."""
    site({"risk_pkg/core.py": CODE}, "risk-pkg", ENTRIES)
    config = PluginConfig(
        "risk",
        "risk-pkg",
        version="9",
        timeout=1,
        functions={"a": "risk_pkg.core:plain", "b": "plain", "c": "risk_pkg.core:Billing.charge"},
    )
    loaded = load_bundle(config, site.catalogue())
    assert [(spec.key, spec.policy.timeout) for spec in loaded.functions] == [("a@9", 1)]
    assert [(attribute, spec.key) for attribute, spec in loaded.methods] == [("charge", "c@9")]
    (fault,) = (fault for fault in loaded.faults if fault.entry == "b")
    assert fault.fix == "write 'module:plain'"


def test_a_name_is_a_distribution_before_it_is_a_module(site):
    """What is advertised was meant; an attribute without a module is the module's all the same."""
    site({"risk/__init__.py": CODE}, "Risk", "[jackfield.functions]\nrisk.score = risk:score\n")
    loaded = load_bundle(PluginConfig("r", "risk"), site.catalogue())
    assert [spec.key for spec in loaded.functions] == ["risk.score@1.2"]
    loaded = load_bundle(PluginConfig("r", "risk", functions={"p": "plain"}), site.catalogue())
    assert [spec.target() for spec in loaded.functions] == ["plain"]
    loaded = load_bundle(PluginConfig("r", "risk"), Catalogue())
    assert [spec.key for spec in loaded.functions] == ["r.score@0"]


def test_a_distribution_that_advertises_nothing_serves_what_is_mapped(site):
    """By either spelling of `path`."""
    site({"some_pkg.py": CODE}, "quiet-dist")
    site({}, "Quiet")
    for path in ("quiet-dist", "Quiet"):
        loaded = load_bundle(PluginConfig("q", path, functions={"p": "some_pkg:plain"}), site.catalogue())
        assert [spec.key for spec in loaded.functions] == ["p@1.2"]
    (fault,) = load_bundle(PluginConfig("q", "quiet-dist"), site.catalogue()).faults
    assert "nothing in quiet-dist that a host could use" in fault.reason


@pytest.mark.parametrize(
    ("path", "stage", "reason", "fix"),
    [
        ("no-such-dist", "source", "no distribution named 'no-such-dist' is installed", "correct the plugin's `path`"),
        ("risk-pgk", "source", "no distribution", "did you mean 'risk-pkg'?"),
        (
            "nosuchthing",
            "source",
            "neither a module nor a distribution named 'nosuchthing'",
            "correct the plugin's `path`",
        ),
        ("nosuch.thing", "import", "No module named 'nosuch'", "correct 'nosuch.thing' in the configuration"),
        ("risk_pkg.core:Gone", "attribute", "risk_pkg.core has no attribute 'Gone'", "correct it in the configuration"),
        ("sick_mod", "import", "ZeroDivisionError", "leave the plugin p out"),
        (
            "needy_mod",
            "import",
            "No module named 'no_such_thing'",
            "the distribution that provides the module no_such_thing",
        ),
        ("sick-object", "import", "ZeroDivisionError", ""),
    ],
)
def test_what_cannot_be_used_at_all_is_refused(site, path, stage, reason, fix):
    """Under the configured name, with what to do."""
    site({"risk_pkg/core.py": CODE}, "risk-pkg", ENTRIES)
    site({"sick_mod.py": "1 / 0\n", "needy_mod.py": "import no_such_thing\n"})
    site({}, "sick-object", "[jackfield.plugins]\nx = sick_mod:X\n")
    with pytest.raises(PluginError) as caught:
        load_bundle(PluginConfig("p", path), site.catalogue())
    error = caught.value
    assert (error.plugin, error.stage) == ("p", stage)
    assert reason in error.reason
    assert fix in error.fix


def test_a_distribution_that_is_switched_off_is_not_loaded(site):
    """The operator's switch outranks the file."""
    site({"risk_pkg/core.py": CODE}, "risk-pkg", ENTRIES)
    switches = Switches.from_environment({"JACKFIELD_DISABLE_PLUGINS": "risk-pkg"})
    with pytest.raises(PluginError, match="switched off by JACKFIELD_DISABLE_PLUGINS"):
        load_bundle(PluginConfig("risk", "risk-pkg"), site.catalogue(switches=switches))


def test_a_reload_of_what_is_public_is_refused_with_the_ways_out():
    """Python cannot do it: a file or folder can be reloaded, or the process started anew."""
    error = refuse_reload(PluginConfig("risk", "risk-pkg"))
    assert (error.plugin, error.stage) == ("risk", "reload")
    assert "holds on to the old code" in error.reason
    assert "file or folder" in error.fix
    assert "restart the process" in error.fix
    assert error.faults[0].fix == error.fix


def test_hooks_are_seen_on_a_class_and_on_its_instances(site):
    """For the host, which makes the plugin object of a class."""
    site({"shop_mod.py": CODE})
    made = load_bundle(PluginConfig("shop", "shop_mod"), Catalogue()).hooks[0].stranger
    assert carries_hooks(made)
    assert carries_hooks(type(made))
    assert not carries_hooks(object())
