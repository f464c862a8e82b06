"""Lazy plugins in random graphs: whoever calls what, everything ends, is imported once, and serves.

"One lazy import that hangs keeps no other first call waiting", and nobody waits for himself.
"""

import tempfile
import threading
from pathlib import Path

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jackfield import Host
from support import installed
from support.plugins import PATIENCE

NAMES = "abcd"


@attrs.frozen
class Lazy:
    """What one plugin is: whether it has an object, provides its type, of what; what its functions need, it calls."""

    provides: bool
    of: frozenset[str]
    needs: frozenset[str]
    calls: tuple[str, ...]
    has_object: bool


def _plugins(names):
    some = st.frozensets(st.sampled_from(names), max_size=2)
    calls = st.lists(st.sampled_from([f"{name}.{which}" for name in names for which in "fg"]), max_size=2).map(tuple)
    one = st.builds(Lazy, st.booleans(), some, some, calls, st.booleans())
    return st.fixed_dictionaries(dict.fromkeys(names, one))


graphs = st.integers(1, len(NAMES)).flatmap(lambda count: _plugins(list(NAMES[:count])))


def _is_provided(graph, name, above=()):
    """Whether a type can be made: somebody provides it, and it needs no type that needs it."""
    plugin = graph[name]
    return plugin.provides and name not in above and all(_is_provided(graph, one, (*above, name)) for one in plugin.of)


def _source(graph, name, plugin):
    needs = ", ".join(f"{one}: jf_world.T{one} = inject()" for one in sorted(plugin.needs))
    of = ", ".join(f"{one}: jf_world.T{one}" for one in sorted(plugin.of))
    return f"""
import jf_world
from jackfield import JackfieldError, inject, provides
{f"@provides{chr(10)}def made({of}) -> jf_world.T{name}: return jf_world.T{name}()" if plugin.provides else ""}
for called in {plugin.calls!r}:
    try:
        jf_world.host.call(called)
    except JackfieldError:
        pass
class Plugin: ...
def _f({f"*, {needs}" if needs else ""}): return "{name}.f"
def _g(): return "{name}.g"
def __getattr__(attribute):
    if attribute not in ("f", "g"):
        raise AttributeError(attribute)
    jf_world.fetched.append("{name}." + attribute)
    return globals()["_" + attribute]
"""


def _entries(name, plugin):
    entries = [("jackfield.functions", f"{name}.{which}", which) for which in "fg"]
    entries += [("jackfield.providers", "made", "made")] if plugin.provides else []
    return entries + ([("jackfield.plugins", name, "Plugin")] if plugin.has_object else [])


@pytest.mark.slow
@given(graphs, st.data())
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_everything_ends_is_imported_once_and_serves(graph, data):
    """Threads call in any order; plugins call one another when they are imported, and need what others provide."""
    names = [f"{name}.{which}" for name in graph for which in "fg"]
    called = data.draw(st.lists(st.sampled_from(names), min_size=1, max_size=6))
    with tempfile.TemporaryDirectory() as folder, installed.site(Path(folder)) as site:
        site("world", "".join(f"class T{name}: ...\n" for name in graph) + "fetched = []", [])
        for name, plugin in graph.items():
            site(name, _source(graph, name, plugin), _entries(name, plugin))
        with Host.discover(path=site.path, observers=(), lazy=True) as host:
            import jf_world  # noqa: PLC0415  # of the site

            jf_world.host = host
            threads = [threading.Thread(target=_call, args=(host, name), daemon=True) for name in called]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(PATIENCE)
            assert not any(thread.is_alive() for thread in threads)
            served = {name: _call(host, name) for name in names}
            assert len(jf_world.fetched) == len(set(jf_world.fetched)) == len(names)
    assert served == {
        name: name if name.endswith("g") or all(_is_provided(graph, one) for one in graph[name[0]].needs) else None
        for name in names
    }


def _call(host, name):
    try:
        return host.call(name)
    except Exception:  # noqa: BLE001  # whatever it is: None is no answer
        return None
