"""The kinds of plugin project that `pluginctl new` writes: each has a function, tests, and what it is there to show."""

from collections.abc import Mapping
from typing import Final, NamedTuple


class Kind(NamedTuple):
    """What one kind of project has beside what all have.

    Attributes:
        about: what the README says first.
        files: path below the project's folder → text.
        entry_points: further tables of `pyproject.toml`.
        parts: what the README says of the further modules.
    """

    about: str
    files: Mapping[str, str]
    entry_points: str = ""
    parts: str = ""


_GREETED: Final = '''
def test_it_greets(host):
    """With the usual greeting, or another."""
    assert host.call(NAME, {"name": "World"}) == "Hello, World!"
    assert host.call(NAME, {"name": "World", "greeting": "Good evening"}) == "Good evening, World!"
'''

_REFUSED: Final = '''

def test_a_payload_that_does_not_fit_is_refused(host):
    """The error names the place; nothing has run."""
    with pytest.raises(PayloadError) as caught:
        host.call(NAME, {"name": 7})
    assert caught.value.path == "$$.name"


def test_the_contract_holds():
    """What callers rely on: change this only together with the version."""
    assert_contract(greet, payload=dict[str, str], result=str)
'''


def _tests(
    shown: str = "", imports: str = "", host: str = "    jackfield_host.register(NAME, greet)\n", head: str = ""
) -> str:
    """Put the tests of a kind together: those of the function, and its own."""
    return f'''\
"""The functions as callers see them: by name, through a host, with plain data."""

{head}from importlib.metadata import distribution

import pytest
from $package.functions import greet
{imports}
from jackfield import PayloadError
from jackfield.testing import assert_contract

NAME = "$package.greet"


@pytest.fixture
def host(jackfield_host):
    """A host that serves the function and nothing else."""
{host}    return jackfield_host


def test_it_is_advertised():
    """The name in pyproject.toml leads to this very function."""
    entry_points = distribution("$name").entry_points.select(group="jackfield.functions")
    assert {{entry.name: entry.load() for entry in entry_points}} == {{NAME: greet}}

{_GREETED}{shown}{_REFUSED}'''


_INJECTED: Final = '''\
"""The functions that this plugin advertises; what they need is injected."""

from $package.phrases import Phrases

from jackfield import inject


def greet(name: str, greeting: str = "Hello", *, phrases: Phrases = inject()) -> str:
    """Greet somebody by name."""
    return phrases.greeting(greeting, name)
'''

_PHRASES: Final = '''\
"""What the functions need, and how it is made: once in each host, at its first use."""

from jackfield import provides


class Phrases:
    """How people are greeted."""

    def __init__(self) -> None:
        self.ending = "!"

    def greeting(self, greeting: str, name: str) -> str:
        """Put a greeting together."""
        return f"{greeting}, {name}{self.ending}"


@provides
def phrases() -> Phrases:
    """Provide the phrases."""
    return Phrases()
'''

_OVERRIDDEN: Final = '''

def test_what_is_injected_can_be_replaced(host):
    """As a test of another plugin would do it."""
    quiet = Phrases()
    quiet.ending = "."
    with host.override({Phrases: quiet}):
        assert host.call(NAME, {"name": "World"}) == "Hello, World."
'''

_PROVIDED: Final = "    jackfield_host.provide(phrases)\n    jackfield_host.register(NAME, greet)\n"

_PROVIDERS: Final = """
# What the functions, and those of other plugins, can have injected.
[project.entry-points."jackfield.providers"]
phrases = "$package.phrases:phrases"
"""

KINDS: Final[Mapping[str, Kind]] = {
    "function": Kind(
        "Functions that [jackfield](https://pypi.org/project/jackfield/) calls by name.",
        {
            "src/$package/functions.py": '''\
"""The functions that this plugin advertises. They are ordinary functions, and need nothing of jackfield\'s."""


def greet(name: str, greeting: str = "Hello") -> str:
    """Greet somebody by name."""
    return f"{greeting}, {name}!"
''',
            "tests/test_functions.py": _tests(),
        },
    ),
    "async": Kind(
        "Async functions that [jackfield](https://pypi.org/project/jackfield/) calls by name.",
        {
            "src/$package/functions.py": '''\
"""The functions that this plugin advertises. They run on the host\'s event loop: what waits in them must be awaited."""

import asyncio


async def greet(name: str, greeting: str = "Hello") -> str:
    """Greet somebody by name, once others have had their turn."""
    await asyncio.sleep(0)
    return f"{greeting}, {name}!"
''',
            "tests/test_functions.py": _tests(
                '''

def test_many_at_a_time(host):
    """From an event loop, with `acall`."""

    async def everybody() -> list[str]:
        names = ("Ada", "Grace", "Mary")
        return await asyncio.gather(*(host.acall(NAME, {"name": name}) for name in names))

    assert asyncio.run(everybody()) == ["Hello, Ada!", "Hello, Grace!", "Hello, Mary!"]
''',
                head="import asyncio\n",
            ),
        },
    ),
    "provider": Kind(
        "A dependency that [jackfield](https://pypi.org/project/jackfield/) injects, and a function that needs it.",
        {
            "src/$package/functions.py": _INJECTED,
            "src/$package/phrases.py": _PHRASES,
            "tests/test_functions.py": _tests(
                _OVERRIDDEN, "from $package.phrases import Phrases, phrases\n", _PROVIDED
            ),
        },
        _PROVIDERS,
        "`src/$package/phrases.py` has the provider: any function that asks for a `Phrases` gets it.\n\n",
    ),
    "plugin": Kind(
        "A plugin that starts and stops with the [jackfield](https://pypi.org/project/jackfield/) host it is in.",
        {
            "src/$package/functions.py": _INJECTED,
            "src/$package/phrases.py": _PHRASES,
            "src/$package/plugin.py": '''\
"""What is done before the functions are there, and when they are gone."""

from $package.phrases import Phrases

from jackfield import inject


class Plugin:
    """Made by the host, with its dependencies; every method may be left out, or be async."""

    def __init__(self, phrases: Phrases = inject()) -> None:
        self.phrases = phrases
        self.ready = False

    def start(self) -> None:
        """Get ready: connect, read, begin background work."""
        self.ready = True

    def stop(self) -> None:
        """Give back what `start` took; nobody is inside the functions any more."""
        self.ready = False

    def health(self) -> dict[str, bool]:
        """Say how it is; raising, or giving False, is not healthy."""
        return {"ready": self.ready}
''',
            "tests/test_functions.py": _tests(
                '''

def test_it_starts_and_stops(monkeypatch):
    """In a host that finds it as any other would."""
    monkeypatch.setenv("JACKFIELD_LOAD_PLUGINS", "$name")
    with Host.discover(observers=()) as host:
        assert host.plugins["$name"].state == "running"
        assert host.health()["$name"].details == {"ready": True}
        assert host.call(NAME, {"name": "World"}) == "Hello, World!"
    assert host.plugins["$name"].state == "stopped"
''',
                "from $package.phrases import phrases\n",
                _PROVIDED,
            ).replace("from jackfield import PayloadError", "from jackfield import Host, PayloadError"),
        },
        """
[project.entry-points."jackfield.plugins"]
"$name" = "$package.plugin:Plugin"
"""
        + _PROVIDERS,
        "`src/$package/plugin.py` has what starts and stops, `src/$package/phrases.py` what both need.\n\n",
    ),
    "hooks": Kind(
        "Hooks that see what is registered in a [jackfield](https://pypi.org/project/jackfield/) host.",
        {
            "src/$package/functions.py": '''\
"""The functions that this plugin advertises. They are ordinary functions, and need nothing of jackfield\'s."""


def greet(name: str, greeting: str = "Hello") -> str:
    """Greet somebody by name."""
    return f"{greeting}, {name}!"
''',
            "src/$package/hooks.py": '''\
"""What is done when functions come and go. Hooks are for the lifecycle; what wants to see calls is an observer."""

from jackfield import hookimpl


class Hooks:
    """Made by the host, without arguments."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    @hookimpl
    def jackfield_register(self, function) -> None:
        """Refuse a function by raising, before anybody can see it."""
        if function.name.startswith("shell."):
            raise PermissionError("shell functions are not allowed here")

    @hookimpl
    def jackfield_registered(self, function) -> None:
        """See each function that has come."""
        self.names.add(function.name)

    @hookimpl
    def jackfield_unregistered(self, function) -> None:
        """See each function that has gone."""
        self.names.discard(function.name)
''',
            "tests/test_functions.py": _tests(
                '''

def test_the_hooks_see_what_comes_and_goes(jackfield_host):
    """Before `register` returns, and before `remove` does."""
    hooks = Hooks()
    jackfield_host.add_hooks(hooks)
    registration = jackfield_host.register(NAME, greet)
    assert hooks.names == {NAME}
    registration.remove()
    assert hooks.names == set()


def test_a_shell_is_refused(jackfield_host):
    """Nobody can call it."""
    jackfield_host.add_hooks(Hooks())
    with pytest.raises(PluginError):
        jackfield_host.register("shell.run", greet)
    assert "shell.run" not in jackfield_host.snapshot.functions
''',
                "from $package.hooks import Hooks\n",
            ).replace("from jackfield import PayloadError", "from jackfield import PayloadError, PluginError"),
        },
        """
[project.entry-points."jackfield.hooks"]
hooks = "$package.hooks:Hooks"
""",
        "`src/$package/hooks.py` has the hooks: they see every function of the host that this is installed in.\n\n",
    ),
}
"""By the name that `--kind` takes."""
