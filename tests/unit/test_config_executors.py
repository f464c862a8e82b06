"""`[executors.NAME]`: what a file may say, what is wrong with it, and what a host makes of it."""

from importlib.metadata import EntryPoint, EntryPoints

import pytest

from jackfield import ContractError, Host, config
from jackfield.config import ExecutorSettings, executors_check, parse_config
from jackfield.config.secrets import Secret
from jackfield.errors import ConfigError, Unavailable
from jackfield.executors import configured
from jackfield.ports import ExecutorStats

GPU = '[executors.gpu]\nkind = "remote"\nurl = "https://gpu-1:8080"'


class Elsewhere:
    """An executor as an adapter makes one."""

    injects = True
    made = ()

    def __init__(self, settings):
        self.settings, self.closed = settings, 0
        Elsewhere.made = (*Elsewhere.made, self)

    def refusal(self, spec):
        return "" if spec.name != "ocr.refused" else "it is of another kind: use another"

    def bind(self, spec, local):
        return Bound(self.settings.url)

    def stats(self):
        return ExecutorStats(enqueued=1)

    def close(self):
        self.closed += 1


class Bound:
    """One function of it."""

    def __init__(self, url):
        self.url = url

    def run(self, call):
        return f"{call.name} on {self.url}"

    async def arun(self, call):
        return self.run(call)

    def close(self):
        pass


class Adapter:
    """The entry point of one."""

    name = "executor:remote"

    def load(self):
        return Elsewhere


@pytest.fixture
def adapters(monkeypatch):
    """Have an executor installed, or none."""

    def have(points):
        monkeypatch.setattr(executors_check, "entry_points", lambda **_: points)
        monkeypatch.setattr(
            config.adapters, "entry_points", lambda name, **_: [one for one in points if one.name == name]
        )

    Elsewhere.made = ()
    have([Adapter()])
    return have


def parsed(text, folder):
    return parse_config(text.encode(), folder / "jackfield.toml")


def test_an_executor_has_a_url_and_maybe_a_key(tmp_path, adapters, monkeypatch):
    """The key is never in the file."""
    monkeypatch.setenv("GPU_KEY", "s3cr3t")
    found = parsed(f'{GPU}\nkey = "env:GPU_KEY"', tmp_path).executors
    assert found == {"gpu": ExecutorSettings("gpu", "remote", "https://gpu-1:8080", Secret("env:GPU_KEY"))}
    (tmp_path / "key").write_text("s3cr3t\n")
    key = parsed(f'{GPU}\nkey = "file:key"', tmp_path).executors["gpu"].key
    assert key == Secret(f"file:{tmp_path}/key")
    assert parsed("discover = true", tmp_path).executors == {}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('[executors.gpu]\nkind = "remot"\nurl = "http://h"', r"did you mean 'remote'\?$"),
        ('[executors.gpu]\nkind = "remote"\nurl = "gpu-1:8080"', "'gpu-1:8080' is no URL → write it with its scheme"),
        ('[executors.thread]\nkind = "remote"\nurl = "http://h"', "is there already"),
        (f'{GPU}\nkey = "s3cr3t"', "a secret in plain text"),
        (f'{GPU}\nkey = "env:NO_SUCH_KEY_HERE"', "is not set"),
        ('[executors.gpu]\nkind = "remote"', "required, and missing → add url"),
        ('[executors.gpu]\nurl = "http://h"', "required, and missing → add kind"),
        (f"{GPU}\ncolour = 1", "unknown key"),
        (f"{GPU}\ninsecure = 1", "expected true or false"),
        ("[executors]\ngpu = 7", "expected a table"),
        (f'{GPU}\n[[plugin]]\nname = "p"\npath = "p"\nexecutor = "gpuu"', "did you mean 'gpu'"),
    ],
)
def test_what_is_wrong_is_told_with_what_to_write(tmp_path, adapters, text, reason):
    """And never the key."""
    with pytest.raises(ConfigError, match=reason) as caught:
        parsed(text, tmp_path)
    assert "s3cr3t" not in str(caught.value)


def test_without_an_adapter_the_file_says_what_to_install(tmp_path, adapters):
    """The framework imports none by itself."""
    adapters(EntryPoints([EntryPoint("door:http", "nothing:at_all", "jackfield.adapters")]))
    with pytest.raises(ConfigError, match=r"pip install 'jackfield-contrib\[client\]'"):
        parsed(GPU, tmp_path)
    with pytest.raises(Unavailable, match="pip install"):
        configured.configured({"gpu": ExecutorSettings("gpu", "remote", "http://h")})


@pytest.fixture
def file(tmp_path, adapters):
    (tmp_path / "ocr.py").write_text("def read(page: str) -> int: ...\ndef refused(page: str) -> int: ...\n")
    made = tmp_path / "jackfield.toml"
    made.write_text(
        f'{GPU}\n[[plugin]]\nname = "ocr"\npath = "./ocr.py"\nexecutor = "gpu"\n'
        '[plugin.functions]\n"ocr.read" = "read"\n'
    )
    return made


def test_the_functions_of_a_plugin_run_there(file):
    """It is closed with the host, and serves again when that is started again."""
    with Host.from_config(file, observers=()) as host:
        assert host.call("ocr.read", "a") == "ocr.read on https://gpu-1:8080"
        assert host.executors["gpu"].enqueued == 1
        (made,) = Elsewhere.made
    assert made.closed == 1
    with host:
        assert host.call("ocr.read", "a") == "ocr.read on https://gpu-1:8080"
    assert (made.closed, len(Elsewhere.made)) == (2, 1)


def test_a_handle_is_checked_by_the_schemas_and_makes_its_own_types(file):
    """What comes from elsewhere is plain data, though this process has the types."""
    with Host.from_config(file, observers=()) as host:
        with pytest.raises(ContractError, match="expected bool, the function returns int"):
            host.function("ocr.read", str, bool)
        with pytest.raises(ContractError, match="its result does not fit"):
            host.function("ocr.read", str, int)("a")


def test_a_function_that_cannot_run_there_is_a_fault(file):
    """With the executor's own reason."""
    file.write_text(file.read_text() + '"ocr.refused" = "refused"\n')
    with Host.from_config(file, observers=()) as host:
        (fault,) = [fault for fault in host.faults if "ocr.refused" in fault.entry]
        assert fault.reason == "it cannot run with executor='gpu': it is of another kind"


def test_an_adapter_that_lacks_a_part_of_the_port_is_refused(file, monkeypatch):
    """Before anything is called."""
    monkeypatch.delattr(Elsewhere, "stats")
    with pytest.raises(ContractError, match="has no `stats`"):
        Host.from_config(file, observers=())


def test_an_executor_of_the_embedder_comes_first(file):
    """So that a test can put another one in its place."""
    fake = Elsewhere(ExecutorSettings("gpu", "fake", "nowhere"))
    with Host.from_config(file, observers=(), executors={"gpu": fake}) as host:
        assert host.call("ocr.read", "a") == "ocr.read on nowhere"
