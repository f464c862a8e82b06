"""Any document gives a configuration or a `ConfigError`, and lines are right for any way of writing a document."""

import json
import string
import tomllib
from itertools import pairwise
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from jackfield.config import Configuration, parse_config
from jackfield.config.lines import index_lines
from jackfield.config.quick import structure_quickly
from jackfield.config.structure import structure
from jackfield.errors import ConfigError

FILE = Path("jackfield.toml")
KEY_NAMES = (
    "plugin name path depends_on auto_start version executor timeout functions options restart restart_limit "
    "restart_backoff start_timeout stop_timeout routes default shares tenants versions weight labels permissions "
    "observability traces logs stream format successes messages metrics port discover strict lazy password a b f.g "
    "worker allow with with_ min max idle calls cpu memory pids open_files tier enforce share environments find_links "
    "size"
)
KNOWN = st.sampled_from(KEY_NAMES.split(" "))
KEYS = KNOWN | st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=8)
WORDS = st.sampled_from(
    ["a", "b", "pkg", "pkg:X", "./x.py", "1.0", "env:HOME", "file:x", "thread", "worker", "never", "stderr", "*", "1Gi"]
)
SCALARS = (
    st.booleans()
    | st.integers()
    | st.floats()
    | WORDS
    | st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=8)
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=12
)
PLUGINS = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "name": WORDS | VALUES,
            "path": WORDS | VALUES,
            "depends_on": st.lists(WORDS) | VALUES,
            "executor": WORDS,
            "worker": st.dictionaries(KNOWN, VALUES, max_size=4),
        },
    )
    | st.dictionaries(KEYS, VALUES, max_size=6)
    | VALUES,
    max_size=4,
)
DOCUMENTS = st.builds(
    lambda known, rest: {**rest, **known},
    st.fixed_dictionaries(
        {},
        optional={
            "plugin": PLUGINS,
            "routes": st.dictionaries(KEYS, VALUES, max_size=3),
            "tenants": st.dictionaries(KEYS, VALUES, max_size=3),
            "observability": VALUES,
            "environments": VALUES,
            "timeout": VALUES,
            "strict": VALUES,
        },
    ),
    st.dictionaries(KEYS, VALUES, max_size=3),
)  # fmt: skip


def toml(value) -> str:
    """Write a value inline."""
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case str():
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case list():
            return "[" + ", ".join(map(toml, value)) + "]"
        case _:
            return "{" + ", ".join(f"{toml(key)} = {toml(item)}" for key, item in value.items()) + "}"


def document(value) -> str:
    """Write a document, one top-level key a line."""
    return "".join(f"{toml(key)} = {toml(item)}\n" for key, item in value.items())


def check(data: bytes) -> None:
    try:
        config = parse_config(data, FILE)
    except ConfigError as error:
        faults, shown = error.faults, str(error)
    else:
        assert isinstance(config, Configuration)
        assert sorted(name for level in config.order() for name in level) == sorted(config.plugins)
        return
    assert faults
    assert all(fault.stage == "config" and fault.reason for fault in faults)
    assert all(fault.reason in shown and fault.fix in shown for fault in faults)


@given(DOCUMENTS)
def test_any_toml_document_gives_a_configuration_or_a_config_error(value):
    """Whatever stands under any keys: never another exception, never a configuration without an order."""
    text = document(value)
    tomllib.loads(text)
    check(text.encode())


@given(st.binary(max_size=200) | st.text(string.printable, max_size=100).map(str.encode))
def test_any_bytes_give_a_configuration_or_a_config_error(data):
    """What is no TOML at all is refused as such."""
    check(data)


@given(DOCUMENTS)
def test_every_located_fault_points_to_a_line_of_its_key(value):
    """The line index holds exactly the paths of the document, each on the line of its top-level key."""
    text = document(value)

    def paths(item, path=()):
        children = item.items() if isinstance(item, dict) else enumerate(item) if isinstance(item, list) else ()
        for key, child in children:
            yield (*path, key)
            yield from paths(child, (*path, key))

    lines = index_lines(text)
    assert set(lines) == set(paths(value))
    places = {key: number for number, key in enumerate(value, 1)}
    assert all(line == places[path[0]] for path, line in lines.items())


@st.composite
def spread_documents(draw):
    """A text of tables, arrays of tables and values over several lines, with the line of each key as it was written."""
    lines: list[str] = []
    expected: dict[tuple[str | int, ...], int] = {}
    noise = st.sampled_from(["", "# x = [", "   ", "\t# '''"])
    values = st.sampled_from(
        [
            "1",
            "true",
            "[\n1, # ]\n[2,\n3]\n]",
            '"""\nq = 1\n[x]\n"""',
            "'''\n]\n\"\"\"\n'''",
            "{ p = { q = [1] } }",
            "1979-05-27",
            '"\\"#"',
        ]
    )

    def write(text: str) -> int:
        number = len(lines) + 1
        lines.extend(text.split("\n"))
        return number

    for table in range(draw(st.integers(0, 4))):
        for _ in range(draw(st.integers(0, 2))):
            write(draw(noise))
        if draw(st.booleans()):
            index = sum(1 for path in expected if len(path) == 2 and path[0] == "rows")
            base: tuple[str | int, ...] = ("rows", index)
            expected[base] = write("[[rows]]" + draw(noise))
        else:
            base = (f"t{table}", "sub.x")
            expected[base] = write(f'[ t{table} . "sub.x" ]' + draw(noise))
        for key in range(draw(st.integers(0, 3))):
            write(draw(noise))
            expected[(*base, f"k{key}", "z")] = write(f"k{key}.z = {draw(values)}" + draw(noise))
    return "\n".join(lines), expected


@given(spread_documents())
def test_lines_are_right_over_tables_and_values_of_several_lines(written):
    """Each key is found on the line it was written on."""
    text, expected = written
    tomllib.loads(text)
    lines = index_lines(text)
    assert {path: lines.get(path) for path in expected} == expected


@given(st.dictionaries(st.sampled_from("abcdef"), st.lists(st.sampled_from("abcdef"), max_size=3), min_size=1))
def test_dependencies_have_an_order_or_every_drawn_cycle_is_one(needs):
    """Levels respect `depends_on`; otherwise each fault is an unknown name or a true cycle of the graph."""
    text = "".join(
        f'[[plugin]]\nname = "{name}"\npath = "p"\ndepends_on = {wanted}\n' for name, wanted in needs.items()
    )
    try:
        order = parse_config(text.encode(), FILE).order()
    except ConfigError as error:
        faults = error.faults
    else:
        level = {name: number for number, names in enumerate(order) for name in names}
        assert level.keys() == needs.keys()
        assert all(level[wanted] < level[name] for name, names in needs.items() for wanted in names)
        return
    unknown = sum(wanted not in needs for names in needs.values() for wanted in names)
    assert sum("no plugin is named" in fault.reason for fault in faults) == unknown
    drawn = [fault.reason.rpartition(": ")[2].split(" → ") for fault in faults if "wait for one" in fault.reason]
    assert len(drawn) == len(faults) - unknown
    for ring in drawn:
        assert ring[0] == ring[-1]
        assert all(after in needs[before] for before, after in pairwise(ring))


@given(DOCUMENTS)
def test_the_quick_way_finds_what_the_thorough_one_does(raw):
    """A document that is good gives the same by either; one that is not is left to the one that says why."""
    document, problems = structure(raw)
    quick = structure_quickly(raw)
    assert (quick is None) == bool(problems)
    if quick is not None:
        assert repr(quick) == repr(document)  # a not-a-number among the options is equal to nothing
