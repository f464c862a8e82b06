"""Plugins that are a file or a folder: what they bring, under names of their own."""

import hashlib
import importlib
import pickle
import sys
import textwrap
from importlib import resources

import pytest

from jackfield.config import PluginConfig
from jackfield.errors import Fault, PluginError
from jackfield.model.spec import Policy
from jackfield.plugins.discovery import Catalogue
from jackfield.plugins.loading import current_digest, load_bundle, private_modules, purge

PRIVATE = "_jackfield_plugin_"


@pytest.fixture
def plugin(tmp_path):
    """Write files, load what they make, and purge it at the end."""
    loaded = []

    def load(files, path="billing.py", name="billing", **options):
        for file, text in ({"billing.py": files} if isinstance(files, str) else files).items():
            place = tmp_path / file
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(text if isinstance(text, bytes) else text.encode())
        loaded.append(load_bundle(PluginConfig(name, f"{tmp_path}/{path}", **options), Catalogue()))
        return loaded[-1]

    yield load
    for one in loaded:
        purge(one)
    assert not [name for name in sys.modules if name.startswith(PRIVATE)]
    assert not list(tmp_path.rglob("__pycache__"))


def functions(loaded):
    return {spec.name: spec.target for spec in loaded.functions}


MARKED = """
from json import dumps
from jackfield import function, hookimpl, inject, provides

@function(timeout=0.5, executor="thread")
def score(amount: int) -> int:
    return 2 * amount

@function
class Rate:
    def __call__(self) -> str:
        return "AA"

class Cheaper(Rate): pass
rate = Rate()
points = score

class Engine: pass

@provides(scope="request")
def engine() -> Engine:
    return Engine()

make_engine = engine

def helper(): pass
"""


def test_marked_callables_are_functions_under_the_plugins_name(plugin):
    """Of the module's own; an alias is another name; a mark is neither inherited nor an instance's."""
    loaded = plugin(MARKED)
    assert list(functions(loaded)) == ["billing.score", "billing.Rate", "billing.points"]
    assert functions(loaded)["billing.score"](4) == 8
    assert loaded.faults == ()
    assert (loaded.version, loaded.object, loaded.hooks, loaded.distribution) == ("0", None, (), "")
    assert [(spec.plugin, spec.version) for spec in loaded.functions] == [("billing", "0")] * 3


def test_marked_factories_are_providers_once(plugin):
    """Each is described, with its plugin; an alias is not a second provider of the same thing."""
    (provider,) = plugin(MARKED).providers
    assert (provider.key.type.__name__, provider.scope, provider.plugin) == ("Engine", "request", "billing")


def test_a_function_decorated_twice_has_the_outer_policy(plugin):
    """The last mark put on wins, and there is one function."""
    code = "from jackfield import function\n@function(timeout=2)\n@function(timeout=1)\ndef f(): return 1\n"
    (spec,) = plugin(code).functions
    assert spec.policy == Policy(timeout=2)


def test_the_configuration_overrides_the_policy_of_functions(plugin):
    """`timeout` and `executor` of the plugin, each where it is given; `idempotent` is the author's to know."""
    code = (
        "from jackfield import function\n@function(timeout=2, executor='thread', idempotent=True)\ndef f(): return 1\n"
    )
    (spec,) = plugin(code, timeout=0.25).functions
    assert spec.policy == Policy(0.25, "thread", idempotent=True)
    (spec,) = plugin(code, executor="inline", version="1.4").functions
    assert (spec.policy, spec.version) == (Policy(2, "inline", idempotent=True), "1.4")


def test_the_configuration_maps_names_to_attributes(plugin):
    """Attributes of the module, dotted ones, those of the plugin's own modules, and those of public ones."""
    loaded = plugin(
        {
            "billing/__init__.py": "from jackfield import function\n"
            "@function\ndef unused(): ...\ndef charge(): return 1\n",
            "billing/tax.py": "class Vat:\n    @staticmethod\n    def of(x: int) -> int: return x + 19\n",
        },
        "billing",
        functions={
            "a.charge": "charge",
            "a.own": "billing:charge",
            "a.vat": "billing.tax:Vat.of",
            "a.dumps": "json:dumps",
        },
    )
    found = functions(loaded)
    assert list(found) == ["a.charge", "a.own", "a.vat", "a.dumps"]
    assert found["a.own"] is found["a.charge"]
    assert (found["a.vat"](1), found["a.dumps"]([1])) == (20, "[1]")
    assert "billing" not in sys.modules


def test_a_folder_brings_what_its_package_takes_from_its_submodules(plugin):
    """And not what it imports from elsewhere, nor what its submodules keep to themselves."""
    other = plugin("from jackfield import function\n@function\ndef foreign(): return 0\n", name="other")
    sys.modules["public_twin_of_other"] = sys.modules[other.root]
    try:
        loaded = plugin(
            {
                "shop/__init__.py": "from .inner.deep import sell, hidden as _h\n"
                "from public_twin_of_other import foreign\n",
                "shop/inner/deep.py": "from jackfield import function\nfrom .. import prices\n"
                "@function\ndef sell(): return prices.PRICE\n"
                "@function\ndef kept(): ...\ndef hidden(): ...\n",
                "shop/prices.py": "PRICE = 7\n",
            },
            "shop",
        )
    finally:
        del sys.modules["public_twin_of_other"]
    assert {name: target() for name, target in functions(loaded).items()} == {"billing.sell": 7}
    assert {name.removeprefix(loaded.root) for name in private_modules(loaded)} == {
        "",
        ".inner",
        ".inner.deep",
        ".prices",
    }


def test_submodules_and_data_are_those_of_the_load(plugin, tmp_path):
    """Imported late, changed or removed on the disk meanwhile: a version is one thing."""
    loaded = plugin(
        {
            "shop/__init__.py": "from jackfield import function\nfrom importlib import resources\nimport pkgutil\n"
            "@function\ndef late():\n    from . import prices\n    return prices.PRICE\n"
            "@function\ndef sql(): return (resources.files(__name__) / 'sql' / 'find.sql').read_text()\n"
            "@function\ndef data(): return pkgutil.get_data(__name__, 'sql/find.sql')\n",
            "shop/prices.py": "PRICE = 7\n",
            "shop/sql/find.sql": "select 'ü'",
        },
        "shop",
    )
    (tmp_path / "shop/prices.py").write_text("PRICE = 8\n")
    (tmp_path / "shop/sql/find.sql").unlink()
    found = functions(loaded)
    assert found["billing.late"]() == 7
    assert found["billing.sql"]() == "select 'ü'"
    assert found["billing.data"]() == "select 'ü'".encode()
    with resources.as_file(resources.files(sys.modules[loaded.root]) / "sql" / "find.sql") as path:
        assert path.read_bytes() == "select 'ü'".encode()


def test_resources_are_a_read_only_tree(plugin):
    """Listing, joining, text and bytes; what is not there is neither file nor folder."""
    loaded = plugin({"shop/__init__.py": "", "shop/a/b.txt": "x\r\ny", "shop/c.bin": b"\xff"}, "shop")
    root = resources.files(sys.modules[loaded.root])
    assert [entry.name for entry in root.iterdir()] == ["__init__.py", "a", "c.bin"]
    assert (root.is_dir(), root.joinpath("a").is_dir(), root.joinpath("a/b.txt").is_file()) == (True, True, True)
    assert not root.joinpath("a/none").is_file()
    assert not root.joinpath("none").is_dir()
    with root.joinpath("a", "b.txt").open(encoding="utf-8") as stream:
        assert stream.read() == "x\ny"
    with (root / "c.bin").open("rb") as stream:
        assert stream.read() == b"\xff"
    with pytest.raises(FileNotFoundError):
        (root / "none").read_bytes()
    with pytest.raises(NotADirectoryError):
        list((root / "c.bin").iterdir())
    with pytest.raises(ValueError, match="'r' or 'rb'"):
        (root / "c.bin").open("w")


OBJECT = """
from attrs import define
from jackfield import function, hookimpl

@define
class Billing:
    rate: int = 3
    @function(timeout=1)
    def charge(self, amount: int) -> int:
        return self.rate * amount
    @staticmethod
    @function
    def about() -> str:
        return "billing"
    @hookimpl
    def jackfield_registered(self, function): ...
    def plain(self, amount: int) -> int:
        return amount

ready = Billing(5)

class Audit:
    @hookimpl
    def jackfield_registered(self, function): ...
"""


def test_a_class_named_in_the_path_is_the_plugin_object_and_its_methods_are_bound_later(plugin):
    """Their contracts are checked at once; the host makes the object and puts it in."""
    loaded = plugin(OBJECT, "billing.py:Billing")
    assert loaded.object.__name__ == "Billing"
    assert list(functions(loaded)) == ["billing.about"]
    ((attribute, spec),) = loaded.methods
    assert (attribute, spec.name, spec.shape, spec.policy.timeout) == ("charge", "billing.charge", "one", 1)
    _, bound = loaded.bound(loaded.object(7))
    assert (bound.name, bound.target(2)) == ("billing.charge", 14)
    assert [type(made.stranger).__name__ for made in loaded.hooks] == ["Audit"]


def test_an_instance_named_in_the_path_brings_its_methods_at_once(plugin):
    """And is the hook implementation in place of its class."""
    loaded = plugin(OBJECT, "billing.py:ready")
    assert (loaded.object.rate, loaded.methods) == (5, ())
    assert functions(loaded)["billing.charge"](2) == 10
    assert loaded.hooks[0].stranger is loaded.object
    assert type(loaded.hooks[1].stranger).__name__ == "Audit"


def test_mapped_attributes_are_those_of_the_object(plugin):
    """A method of the class that becomes the plugin object waits for it; one of any other class is refused."""
    loaded = plugin(
        OBJECT,
        "billing.py:Billing",
        functions={"a": "plain", "b": "billing:Billing.plain", "c": "billing:Audit.jackfield_registered", "d": "about"},
    )
    assert [spec.name for _, spec in loaded.methods] == ["a", "b"]
    assert list(functions(loaded)) == ["d"]
    (fault,) = loaded.faults
    assert fault == Fault(
        "attribute",
        "billing",
        "c",
        "Audit.jackfield_registered is a method of the class Audit, of which there is no object",
        "make it a static method, or let the plugin's `path` name the class, as in 'module:Class'",
    )


def test_a_module_with_marked_functions_is_itself_a_hook(plugin):
    """As pluggy has it."""
    loaded = plugin("from jackfield import hookimpl\n@hookimpl\ndef jackfield_registered(function): ...\n")
    assert [made.stranger for made in loaded.hooks] == [sys.modules[loaded.root]]


def test_two_files_of_one_name_and_content_do_not_meet(plugin):
    """Plugins whose names become the same identifier, a stem like a module of the standard library, equal bytes."""
    code = "from jackfield import function\nstate = []\n@function\ndef f(): state.append(1); return len(state)\n"
    first = plugin({"json.py": code}, "json.py", name="a.b")
    second = plugin({"json.py": code}, "json.py", name="a_b")
    assert (first.digest, first.root + "_2") == (second.digest, second.root)
    assert [first.functions[0].target(), first.functions[0].target(), second.functions[0].target()] == [1, 2, 1]
    assert importlib.import_module("json").dumps([]) == "[]"


def test_a_private_name_is_what_it_was_while_nobody_else_has_it(plugin):
    """The same plugin and digest, the same name; purging the old one again leaves the new one alone."""
    first = plugin("x = 1\n", functions={"f": "int"})
    purge(first)
    second = plugin("x = 1\n", functions={"f": "int"})
    assert first.root == second.root == f"{PRIVATE}billing_{second.digest[:12]}"
    purge(first)
    assert private_modules(first) == ()
    assert private_modules(second) == (second.root,)
    assert second.root in sys.modules


def test_instances_are_pickled_by_the_private_name(plugin):
    """Which works while the version is loaded, and only then."""
    loaded = plugin("class Loan:\n    pass\n", functions={})
    text = pickle.dumps(sys.modules[loaded.root].Loan())
    assert type(pickle.loads(text)).__module__ == loaded.root  # noqa: S301  # our own bytes
    purge(loaded)
    with pytest.raises(ModuleNotFoundError):
        pickle.loads(text)  # noqa: S301  # our own bytes


def test_a_plugin_of_nothing_says_so(plugin):
    """A forgotten mark is not silent."""
    (fault,) = plugin("def f(): ...\n").faults
    assert (fault.stage, fault.plugin) == ("source", "billing")
    assert "mark functions with @function" in fault.fix


def test_the_digest_is_of_the_very_bytes(plugin, tmp_path):
    """Of a file its sha256; of a folder names and contents, whatever else lies there."""
    assert plugin("x = 1\n").digest == hashlib.sha256(b"x = 1\n").hexdigest()
    first = plugin({"shop/__init__.py": "", "shop/a.txt": "1"}, "shop").digest
    for ignored in (".git/x", "__pycache__/a.pyc", "b.pyc", ".a.txt.swp"):
        place = tmp_path / "shop" / ignored
        place.parent.mkdir(exist_ok=True)
        place.write_text("x")
    config = PluginConfig("billing", f"{tmp_path}/shop")
    assert current_digest(config) == first
    (tmp_path / "shop/a.txt").rename(tmp_path / "shop/b.txt")
    assert current_digest(config) != first
    (tmp_path / "shop/__pycache__/a.pyc").unlink()
    (tmp_path / "shop/__pycache__").rmdir()
    assert current_digest(PluginConfig("j", "json")) == ""


def test_a_link_is_resolved_once(plugin, tmp_path):
    """A folder that releases are switched in by: each version has its own files, and keeps the folder's name."""
    (tmp_path / "r1").mkdir()
    code = "from jackfield import function\n@function\ndef f(): return __file__\n"
    (tmp_path / "r1/__init__.py").write_text(code)
    (tmp_path / "r1/loop").symlink_to(tmp_path / "r1")
    (tmp_path / "shop").symlink_to(tmp_path / "r1")
    loaded = plugin({}, "shop", functions={"f": "shop:f"})
    assert loaded.functions[0].target() == str((tmp_path / "r1/__init__.py").resolve())


def test_a_missing_object_fails_the_plugin(plugin):
    """It names itself in the path, so there is nothing to go on with."""
    with pytest.raises(PluginError) as caught:
        plugin(OBJECT, "billing.py:Biling")
    assert caught.value.stage == "attribute"
    assert caught.value.reason == "billing has no attribute 'Biling'"
    assert caught.value.fix == "did you mean 'Billing'? correct it in the configuration"


@pytest.mark.parametrize("name", ["add", "more", "shout", "marked"])
def test_a_function_named_in_the_path_is_served(plugin, name):
    """A plain one, a partial, a builtin, and one that is marked anyway: none is a plugin object, and none is lost."""
    code = """
    import functools
    from jackfield import function
    def add(a: int, b: int = 1) -> int: return a + b
    more = functools.partial(add, b=5)
    shout = "x".upper
    @function
    def marked(a: int) -> int: return a
    """
    loaded = plugin(textwrap.dedent(code), f"billing.py:{name}")
    assert loaded.object is None
    assert set(functions(loaded)) == {f"billing.{name}", "billing.marked"}
    assert loaded.faults == ()
