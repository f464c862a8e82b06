"""Unmodified functions of well-known packages: which can be governed, as they are, and which not, and why.

`python tests/integration/test_borrowed_functions.py` prints the table.
"""

import importlib
import inspect
import sys
from operator import attrgetter

import attrs
import pytest

from jackfield import ContractError, Host, JackfieldError


@attrs.frozen
class Row:
    """One function.

    Attributes:
        target: `module:attribute`, as an entry point has it.
        payload: what a caller gives.
        refused: what the refusal says, when it cannot be governed.
        variadic: it takes any number of values and says nothing of them: an error, or the right result.
    """

    target: str
    payload: object = None
    refused: str = ""
    variadic: bool = False

    @property
    def function(self):
        module, _, name = self.target.partition(":")
        return attrgetter(name)(importlib.import_module(module))

    def by_hand(self):
        """Call it as one calls it: the record's values by their names, or by position where names are not allowed."""
        if self.payload is None:
            return self.function()
        if self.variadic:
            return self.function(*self.payload)
        if not isinstance(self.payload, dict):
            return self.function(self.payload)
        parameters = inspect.signature(self.function).parameters.values()
        places = [each.name for each in parameters if each.kind is each.POSITIONAL_ONLY and each.name in self.payload]
        named = {name: value for name, value in self.payload.items() if name not in places}
        return self.function(*(self.payload[name] for name in places), **named)


ROWS = [
    # packaging
    Row("packaging.version:parse", "1.2.3"),
    Row("packaging.utils:canonicalize_name", {"name": "Foo_Bar"}),
    Row("packaging.utils:is_normalized_name", "foo-bar"),
    Row("packaging.utils:canonicalize_version", {"version": "1.4.0", "strip_trailing_zero": False}),
    Row("packaging.utils:parse_wheel_filename", {"filename": "foo-1.0-py3-none-any.whl"}),
    Row("packaging.utils:parse_sdist_filename", "foo-1.0.tar.gz"),
    Row("packaging.markers:default_environment"),
    # python-slugify
    Row("slugify:slugify", {"text": "Grüße aus Köln"}),
    Row("slugify:smart_truncate", {"string": "one two three", "max_length": 8}),
    # msgspec
    Row("msgspec.json:encode", {"obj": [1, 2]}),
    Row("msgspec.json:decode", {"buf": "[1, 2]"}),
    Row("msgspec.json:format", {"buf": "[1,2]", "indent": 2}),
    Row("msgspec:to_builtins", {"obj": [1, 2]}),
    # attrs
    Row("attrs:asdict", {"inst": Row("a:b")}),
    Row("attrs:has", Row),
    # rich
    Row("rich.markup:escape", {"markup": "[bold]"}),
    Row("rich.cells:cell_len", {"text": "Grüße"}),
    Row("rich.cells:chop_cells", {"text": "abcdef", "width": 4}),
    Row("rich.filesize:decimal", {"size": 30_000, "precision": 2}),
    Row("rich.filesize:pick_unit_and_suffix", {"size": 3000, "suffixes": ["B", "kB"], "base": 1000}),
    # platformdirs
    Row("platformdirs:user_cache_dir", {"appname": "demo"}),
    Row("platformdirs:user_data_path", {"appname": "demo"}),
    # pydantic, cattrs, pluggy, prometheus-client
    Row("pydantic:TypeAdapter", refused="has no `__call__` of its own"),
    Row("pydantic.alias_generators:to_camel", "first_name"),
    Row("pydantic.alias_generators:to_snake", "firstName"),
    Row("cattrs:unstructure", {"obj": [1, 2]}),
    Row("cattrs:structure", {"obj": "7", "cl": int}),
    Row("pluggy:HookimplMarker", refused="is required and not injected"),
    Row("prometheus_client.utils:floatToGoString", 0.25),
    Row("prometheus_client.exposition:choose_encoder", ""),
    # the backport of importlib.metadata
    Row("importlib_metadata:version", "jackfield"),
    Row("importlib_metadata:requires", "jackfield"),
    # the standard library: Python
    Row("statistics:fmean", {"data": [1.0, 2.0, 4.0]}),
    Row("statistics:median", [1, 3, 2]),
    Row("statistics:quantiles", {"data": [1, 2, 3, 4], "n": 2}),
    Row("textwrap:shorten", {"text": "one two three", "width": 9}),
    Row("textwrap:dedent", "  a\n  b"),
    Row("string:capwords", {"s": "one two"}),
    Row("difflib:get_close_matches", {"word": "appel", "possibilities": ["ape", "apple"]}),
    Row("html:escape", {"s": "<a>"}),
    Row("html:unescape", "&lt;"),
    Row("urllib.parse:quote", {"string": "a b"}),
    Row("urllib.parse:urlsplit", {"url": "https://a.example/b?c=d"}),
    Row("urllib.parse:urljoin", {"base": "https://a.example/b", "url": "c"}),
    Row("json:dumps", {"obj": [1, 2], "indent": 1}),
    Row("json:loads", {"s": "[1, 2]"}),
    Row("calendar:isleap", 2024),
    Row("colorsys:rgb_to_hsv", {"r": 1.0, "g": 0.5, "b": 0.0}),
    Row("ipaddress:ip_address", "10.0.0.1"),
    Row("shlex:split", {"s": "a 'b c'"}),
    Row("fnmatch:fnmatch", {"name": "a.py", "pat": "*.py"}),
    Row("keyword:iskeyword", "for"),
    Row("heapq:nlargest", {"n": 2, "iterable": [1, 3, 2]}),
    Row("base64:b64encode", {"s": b"hello"}),
    # the standard library: C
    Row("math:factorial", 5),
    Row("math:gcd", [12, 18], variadic=True),
    Row("math:hypot", [3.0, 4.0], variadic=True),
    Row("math:isclose", {"a": 1.0, "b": 1.0}),
    Row("unicodedata:normalize", {"form": "NFC", "unistr": "e\u0301"}),
    Row("zlib:crc32", {"data": b"hello"}),
    Row("builtins:len", "hello"),
    Row("builtins:max", [1, 2]),
    Row("builtins:str.upper", "hello"),
    Row("builtins:str.join", {"self": ",", "iterable": ["a", "b"]}),
]


GOVERNED = [row for row in ROWS if not row.refused and not row.variadic]


def test_there_are_64():
    """Of a dozen packages, the standard library among them, in Python and in C."""
    assert len({row.target for row in ROWS}) == len(ROWS) == 64


@pytest.mark.parametrize("row", GOVERNED, ids=lambda row: row.target)
def test_it_is_governed_as_it_is(row):
    """By name, with a deadline, it gives what it gives when it is called by hand."""
    with Host(observers=()) as host:
        host.register("borrowed", row.function)
        assert host.call("borrowed", row.payload, timeout=30.0) == row.by_hand()


@pytest.mark.parametrize("row", [row for row in ROWS if row.refused], ids=lambda row: row.target)
def test_it_is_refused_with_the_reason(row):
    """At registration, and the reason is one that its author would understand."""
    with Host(observers=()) as host, pytest.raises(ContractError, match=row.refused):
        host.register("borrowed", row.function)


@pytest.mark.parametrize("row", [row for row in ROWS if row.variadic], ids=lambda row: row.target)
def test_any_number_of_values_is_an_error_or_right(row):
    """It never takes one value for all of them."""
    with Host(observers=()) as host:
        try:
            host.register("borrowed", row.function)
            result = host.call("borrowed", row.payload)
        except JackfieldError as error:
            assert str(error)  # noqa: PT017  # one of the two
        else:
            assert result == row.by_hand()


def table():
    """Give the table as lines of Markdown."""
    yield "| function | governed | notes |"
    yield "|---|---|---|"
    for row in ROWS:
        with Host(observers=()) as host:
            try:
                host.register("borrowed", row.function)
                same = host.call("borrowed", row.payload) == row.by_hand()
                verdict, notes = "yes" if same else "WRONG", host.describe("borrowed").notes
            except ContractError as error:
                verdict, notes = "refused", [fault.reason for fault in error.faults]
            except JackfieldError as error:
                verdict, notes = "no", [str(error)]
        yield f"| `{row.target}` | {verdict} | {'; '.join(notes)} |"


if __name__ == "__main__":
    sys.stdout.writelines(f"{line}\n" for line in table())
