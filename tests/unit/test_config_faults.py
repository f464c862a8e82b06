"""A faulty configuration file: every fault at once, each with its key, its line and a fix."""

import pickle
from pathlib import Path

import pytest

from jackfield.config import parse_config
from jackfield.errors import ConfigError, Fault

TEN_FAULTS = """\
discoverr = true
timeout = "5s"

[[plugin]]
name = "billing"
path = "./nowhere.py"
depends_on = ["audti"]
executor = "threed"
timeout = -1
[plugin.options]
password = "hunter2"

[[plugin]]
name = "audit"
pth = "audit"

[routes."text.slugify"]
shares = { "1.1" = 1.4 }

[tenants.acme]
weight = -2
"""


def faults_of(text: str) -> list[tuple[str, str, str, str]]:
    """Parse a faulty text; give plugin, entry, reason and fix of each fault."""
    with pytest.raises(ConfigError) as caught:
        parse_config(text.encode(), Path("jackfield.toml"))
    assert all(fault.stage == "config" for fault in caught.value.faults)
    return [(fault.plugin, fault.entry, fault.reason, fault.fix) for fault in caught.value.faults]


def the_fault_of(text: str) -> tuple[str, str]:
    """Parse a text with one fault; give its entry, and reason and fix as one."""
    ((_, entry, reason, fix),) = faults_of(text)
    return entry, f"{reason} → {fix}"


def plugin(**keys: str) -> str:
    """Write a good plugin, with some keys changed; values as TOML."""
    keys = {"name": '"a"', "path": '"pkg"'} | keys
    return "[[plugin]]\n" + "".join(f"{key} = {value}\n" for key, value in keys.items() if value)


def scheduled(**keys: str) -> str:
    """Write a good schedule, with some keys changed; values as TOML."""
    keys = {"name": "'nightly'", "function": "'a.close'", "cron": "'15 3 * * *'"} | keys
    return "[[schedule]]\n" + "".join(f"{key} = {value}\n" for key, value in keys.items() if value)


def upgraded(text: str) -> str:
    """Write a good plugin that runs in workers, with an `upgrade`."""
    return plugin(executor='"worker"', upgrade=f"{{ {text} }}")


def worker(**keys: str) -> str:
    """Write a good plugin that runs in workers, with some keys of their table; values as TOML."""
    text = plugin(executor='"worker"') + "[plugin.worker]\n"
    return text + "".join(f"{key} = {value}\n" for key, value in keys.items())


def test_a_file_with_ten_faults_shows_eleven_with_their_lines():
    """Types, names, files, dependencies, secrets and shares are judged together (a misspelled `path` counts twice)."""
    with pytest.raises(ConfigError) as caught:
        parse_config(TEN_FAULTS.encode(), Path("/etc/jackfield.toml"))
    error = caught.value
    assert [(fault.plugin, fault.entry) for fault in error.faults] == [
        ("", "discoverr (line 1)"),
        ("", "timeout (line 2)"),
        ("billing", "plugin[0].path (line 6)"),
        ("billing", "plugin[0].depends_on[0] (line 7)"),
        ("billing", "plugin[0].executor (line 8)"),
        ("billing", "plugin[0].timeout (line 9)"),
        ("billing", "plugin[0].options.password (line 11)"),
        ("audit", "plugin[1].path (line 13)"),
        ("audit", "plugin[1].pth (line 15)"),
        ("", 'routes."text.slugify".shares."1.1" (line 18)'),
        ("", "tenants.acme.weight (line 21)"),
    ]
    assert all(fault.reason for fault in error.faults)
    assert (error.file, error.line, error.key, error.reason) == ("/etc/jackfield.toml", 1, "discoverr", "unknown key")
    shown = str(error)
    assert all(str(fault) in shown for fault in error.faults)
    assert "hunter2" not in shown


def test_the_error_survives_pickling():
    """It can come out of another process whole."""
    with pytest.raises(ConfigError) as caught:
        parse_config(TEN_FAULTS.encode(), Path("jackfield.toml"))
    copy = pickle.loads(pickle.dumps(caught.value))  # noqa: S301  # our own bytes
    assert (copy.faults, str(copy)) == (caught.value.faults, str(caught.value))


def test_a_single_fault_is_shown_with_its_fix():
    """One line says the file, the line, the key, the reason and the fix."""
    with pytest.raises(ConfigError) as caught:
        parse_config(plugin(executr='"x"').encode(), Path("jackfield.toml"))
    assert str(caught.value) == "jackfield.toml:4: plugin[0].executr: unknown key → did you mean 'executor'?"
    assert caught.value.faults == (
        Fault("config", "a", "plugin[0].executr (line 4)", "unknown key", "did you mean 'executor'?"),
    )


@pytest.mark.parametrize(
    ("text", "entry", "said"),
    [
        (
            plugin(timeout='"500ms"'),
            "plugin[0].timeout (line 4)",
            "a number of seconds above 0 (and at most a year), as in 0.5, got the text '500ms'",
        ),
        (plugin(timeout="true"), "plugin[0].timeout (line 4)", "got true"),
        (plugin(timeout="nan"), "plugin[0].timeout (line 4)", "got nan"),
        (plugin(timeout="inf"), "plugin[0].timeout (line 4)", "got inf"),
        (plugin(timeout="0"), "plugin[0].timeout (line 4)", "got 0"),
        (plugin(timeout="0x" + "f" * 6000), "plugin[0].timeout (line 4)", "got a huge number"),
        (plugin(timeout="[1]"), "plugin[0].timeout (line 4)", "got an array"),
        (plugin(timeout="2024-01-01"), "plugin[0].timeout (line 4)", "got a date or time"),
        (plugin(auto_start='"yes"'), "plugin[0].auto_start (line 4)", "expected true or false, got the text 'yes'"),
        (plugin(name='""'), "plugin[0].name (line 2)", "got an empty text"),
        (plugin(name=""), "plugin[0].name (line 1)", "required, and missing → add name = "),
        (plugin(name='"a b"'), "plugin[0].name (line 2)", "the name is not a dotted name → use letters"),
        (plugin(name='"' + "a" * 300 + '"'), "plugin[0].name (line 2)", "the name has 300 characters, 255 are allowed"),
        (plugin(version='"1 2"'), "plugin[0].version (line 4)", "'1 2' is not a version"),
        (plugin(path='"a b"'), "plugin[0].path (line 3)", "'a b' is not the path of a plugin → write 'module:Object'"),
        (plugin(path='"./x.py\\u0000"'), "plugin[0].path (line 3)", "there is no folder './x.py\\x00'"),
        (plugin(path='"./no"'), "plugin[0].path (line 3)", "there is no folder './no'"),
        (plugin(depends_on='"b"'), "plugin[0].depends_on (line 4)", "expected an array, got the text 'b'"),
        (plugin(depends_on="[1]"), "plugin[0].depends_on[0] (line 4)", "got 1"),
        (plugin(depends_on='["b"]'), "plugin[0].depends_on[0] (line 4)", "no plugin is named 'b' → declare it"),
        (plugin(depends_on='["a"]'), "plugin[0].depends_on (line 4)", "wait for one another: a → a →"),
        (
            plugin(restart='"on_failure"'),
            "plugin[0].restart (line 4)",
            "unknown value 'on_failure' → did you mean 'on-failure'?",
        ),
        (plugin(restart="3"), "plugin[0].restart (line 4)", "expected 'never' or 'on-failure' or 'always', got 3"),
        (plugin(restart_limit="-1"), "plugin[0].restart_limit (line 4)", "a whole number from 0 to 1,000,000, got -1"),
        (plugin(restart_limit="1.5"), "plugin[0].restart_limit (line 4)", "got 1.5"),
        (plugin(functions='{ "a b" = "c" }'), 'plugin[0].functions."a b" (line 4)', "not a dotted name"),
        (plugin(functions='{ f = "c d" }'), "plugin[0].functions.f (line 4)", "got the text 'c d'"),
        (plugin(functions='{ f = "c\\n" }'), "plugin[0].functions.f (line 4)", "got the text 'c\\n'"),
        (
            plugin(functions='{ text.slug = "c" }'),
            "plugin[0].functions.text (line 4)",
            "a dotted name needs quotes: 'text.slug'",
        ),
        (plugin(functions='["f"]'), "plugin[0].functions (line 4)", "expected a table, got an array"),
        (plugin(options="3"), "plugin[0].options (line 4)", "expected a table, got 3"),
        ('[plugin]\nname = "a"\npath = "b"\n', "plugin (line 1)", "expected an array, got a table → write [[plugin]]"),
        ("plugin = [3]\n", "plugin[0] (line 1)", "expected a table, got 3"),
        ("plugin = [\n\n 'x']\n", "plugin[0] (line 3)", "expected a table, got the text 'x'"),
        ("[routes]\ntext.slug = '1'", "routes.text.slug (line 2)", "a dotted name needs quotes: 'text.slug'"),
        ("[routes.f]\ndefualt = '1'", "routes.f.defualt (line 2)", "did you mean 'default'?"),
        ("[routes]\nf = 1", "routes.f (line 2)", "expected a table, got 1"),
        ("[routes]\nf = ''", "routes.f (line 2)", "got an empty text"),
        ("[routes]\n'f g' = '1'", 'routes."f g" (line 2)', "not a dotted name"),
        ("[routes]\nf = '1 2'", "routes.f.default (line 2)", "'1 2' is not a version"),
        (
            "[routes.f]\nshares = { '2' = 1.4 }",
            "routes.f.shares.2 (line 2)",
            "a share from 0 to 1 (0.2 is 20 %), got 1.4",
        ),
        (
            "[routes.f.shares]\n2 = 0.8\n3 = 0.6",
            "routes.f.shares (line 1)",
            "the shares add up to 140 % → they may reach 1",
        ),
        ("[routes.f.shares]\n2 = -0.1", "routes.f.shares.2 (line 2)", "got -0.1"),
        ("[routes.f]\ndefault = '1'\nshares = { 1 = 0.5 }", "routes.f.shares.1 (line 3)", "'1' is the default version"),
        (
            "[routes.f]\ntenants = { acne = '1' }\n[tenants.acme]",
            "routes.f.tenants.acne (line 2)",
            "did you mean 'acme'?",
        ),
        (
            "[routes.f]\nlabels = { tier = 'beta' }\n[tenants.a]\nlabels = { tier = 'beta' }",
            "routes.f.labels (line 2)",
            "labels say among whom shares are drawn, and there are no shares → add shares",
        ),
        (
            "[routes.f]\nshares = { 2 = 1.0 }\nlabels = { tier = 'beta', x = 'y' }\n[tenants.a]\nlabels.tier = 'beta'",
            "routes.f.labels (line 3)",
            "no tenant has the labels tier = 'beta', x = 'y' → give them to some under [tenants]",
        ),
        (
            "[routes.f]\nshares = { 2 = 1.0 }\nlabels = { a = 'b' }",
            "routes.f.labels (line 3)",
            "no tenant has the labels",
        ),
        ("[tenants.a]\nweight = 0", "tenants.a.weight (line 2)", "a number above 0"),
        ("[tenants.'']\nweight = 1", 'tenants."" (line 1)', "cannot be a tenant's name"),
        ("[tenants.acme.com]\n", "tenants.acme.com (line 1)", "a dotted name needs quotes: 'acme.com'"),
        ("[tenants.a]\npermissions = ['text.*', 'a b']", "tenants.a.permissions[1] (line 2)", "got the text 'a b'"),
        ("[tenants.a]\nlabels = { x = 1 }", "tenants.a.labels.x (line 2)", "expected a text, got 1"),
        (
            plugin(upgrade="{}"),
            "plugin[0].upgrade (line 4)",
            'only a plugin in workers can have two versions at once → add executor = "worker"',
        ),
        (upgraded("share = 5"), "plugin[0].upgrade.share (line 5)", "a share from 0 to 1 (0.2 is 20 %), got 5"),
        (upgraded("analyze = true"), "plugin[0].upgrade.analyze (line 5)", "unknown key → did you mean 'analyse'?"),
        (upgraded("analyse = 1"), "plugin[0].upgrade.analyse (line 5)", "expected true or false, got 1"),
        (upgraded("labels = { a = 'b' }"), "plugin[0].upgrade.labels (line 5)", "no tenant has the labels a = 'b'"),
        (
            upgraded("tenants = ['acne']") + "[tenants.acme]",
            "plugin[0].upgrade.tenants[0] (line 5)",
            "no tenant is named 'acne' → did you mean 'acme'?",
        ),
        (scheduled(cron="'60 * * * *'"), "schedule[0].cron (line 4)", "'60 * * * *': its minute is wrong → write five"),
        (scheduled(cron="'0 0 30 2 *'"), "schedule[0].cron (line 4)", "it never comes: no such month has that day"),
        (scheduled(timezone="'Europe/Berln'"), "schedule[0].timezone (line 5)", "did you mean 'Europe/Berlin'"),
        (scheduled(missed="'twice'"), "schedule[0].missed (line 5)", "unknown value 'twice'"),
        (scheduled(payload="3", tenants="1"), "schedule[0].tenants (line 6)", "unknown key → did you mean 'tenant'?"),
        (scheduled(function="'no name'"), "schedule[0].function (line 3)", "the name is not a dotted name"),
        (scheduled(function=""), "schedule[0].function (line 1)", "required, and missing → add function ="),
        (scheduled() + scheduled(), "schedule[1].name (line 6)", "the name 'nightly' is taken by schedule[0]"),
        (scheduled(tenant="'acne'") + "[tenants.acme]", "schedule[0].tenant (line 5)", "did you mean 'acme'?"),
        ("schedule = 3", "schedule (line 1)", "expected an array, got 3 → write [[schedule]], with two brackets"),
        (plugin(retry="{ attempts = 0 }"), "plugin[0].retry.attempts (line 4)", "from 1 to 1,000,000, got 0"),
        (plugin(retry="{ backoff = 0 }"), "plugin[0].retry.backoff (line 4)", "a number of seconds above 0"),
        (plugin(retry="{ backof = 1.0 }"), "plugin[0].retry.backof (line 4)", "unknown key → did you mean 'backoff'?"),
        (plugin(retry="5"), "plugin[0].retry (line 4)", "expected a table, got 5"),
        (plugin(executor='"worker"', upgrade="3"), "plugin[0].upgrade (line 5)", "expected a table, got 3"),
        (plugin(worker="{}"), "plugin[0].worker (line 4)", "the plugin has no executor, and only workers heed this"),
        (
            plugin(executor='"thread"', worker="{ max = 4 }"),
            "plugin[0].worker (line 5)",
            "the executor is 'thread', and only workers heed this table → add executor = \"worker\"",
        ),
        (worker(max="0"), "plugin[0].worker.max (line 6)", "a whole number from 1 to 1,000,000, got 0"),
        (worker(min="3"), "plugin[0].worker.min (line 6)", "3 are kept warm, of 2 that there may be"),
        (worker(cpu='"fast"'), "plugin[0].worker.cpu (line 6)", "expected cores as in '500m' or 2 (at most 100,000)"),
        (worker(cpu="0"), "plugin[0].worker.cpu (line 6)", "got 0"),
        (worker(cpu="true"), "plugin[0].worker.cpu (line 6)", "got true"),
        (worker(memory='"1 GB"'), "plugin[0].worker.memory (line 6)", "bytes as in '512Mi', '1Gi' or 1048576"),
        (worker(memory='"0Mi"'), "plugin[0].worker.memory (line 6)", "got the text '0Mi'"),
        (worker(memory="1.5"), "plugin[0].worker.memory (line 6)", "got 1.5"),
        (worker(tier='"slef"'), "plugin[0].worker.tier (line 6)", "did you mean 'self'?"),
        (worker(alow="[]"), "plugin[0].worker.alow (line 6)", "did you mean 'allow'?"),
        (worker(with_="[]"), "plugin[0].worker.with_ (line 6)", "did you mean 'with'?"),
        (worker(allow='"all"'), "plugin[0].worker.allow (line 6)", "expected an array, got the text 'all'"),
        (worker(allow='["none"]'), "plugin[0].worker.allow[0] (line 6)", "'none' is not a capability → known here"),
        (worker(allow="[3]"), "plugin[0].worker.allow[0] (line 6)", "expected a capability as in 'network:outbound'"),
        (worker(allow='["netwrok:outbound"]'), "plugin[0].worker.allow[0] (line 6)", "did you mean 'network'?"),
        (worker(allow='["all", "calls:a b"]'), "plugin[0].worker.allow[1] (line 6)", "is not a pattern of functions"),
        (worker(allow='["storage:data"]'), "plugin[0].worker.allow[0] (line 6)", "'data' is not an absolute path"),
        (worker(allow='["storage:/a/../b"]'), "plugin[0].worker.allow[0] (line 6)", "goes up again with '..'"),
        (worker(allow='["network:outbound:db:0"]'), "plugin[0].worker.allow[0] (line 6)", "0 is not a port"),
        (worker(allow='["network:inbound"]'), "plugin[0].worker.allow[0] (line 6)", "write 'network:outbound'"),
        (worker(**{"with": '["a=1"]'}), "plugin[0].worker.with[0] (line 6)", "'a=1' is not a requirement → write it"),
        ("[environments]\nsize = '4 GB'", "environments.size (line 2)", "got the text '4 GB'"),
        ("[environments]\nfind_links = ['./no']", "environments.find_links[0] (line 2)", "there is no folder './no'"),
        ("[environments]\nofline = true", "environments.ofline (line 2)", "did you mean 'offline'?"),
        ("[host]\nid = 'a/b'", "host.id (line 2)", "expected 1 to 64 printable characters without spaces and '/'"),
        ("[store]\nurl = 'sqlite'", "store.url (line 2)", "expected 'memory:', 'sqlite:' and a file"),
        ("[store]\nurl = 'sqlite:'", "store.url (line 2)", "names no file → write 'sqlite:jackfield.db'"),
        ("[store]\nurl = 'sqlite:///a.db'", "store.url (line 2)", "names no file → write 'sqlite:jackfield.db'"),
        ("[store]\nurl = 'sqlite:no/a.db'", "store.url (line 2)", "which is no folder"),
        ("[store]\nurl = 'sqlite:.'", "store.url (line 2)", "is a folder"),
        ("[store]\nurl = 'memory:a'", "store.url (line 2)", "write 'memory:'"),
        ("[store]\nurl = 'sqlight:a'", "store.url (line 2)", "did you mean 'sqlite'?"),
        ("[store]\nurl = 'etcd://a'", "store.url (line 2)", "pip install 'jackfield-contrib[etcd]'"),
        ("[store]\nfile = 'a.db'", "store.file (line 2)", "unknown key"),
        ("[observability]\ntraces = 'off'", "observability.traces (line 2)", "expected true or false"),
        ("[observability.logs]\nstream = 'file'", "observability.logs.stream (line 2)", "known here: stderr, stdout"),
        ("[observability.metrics]\nport = 65536", "observability.metrics.port (line 2)", "got 65536"),
    ],
)
def test_each_fault_has_its_key_its_line_and_a_clear_reason(text, entry, said):
    """One mistake gives one fault: where, what, and what to do."""
    found, message = the_fault_of(text)
    assert found == entry
    assert said in message


def test_a_name_that_is_taken_points_to_the_first():
    """The second of two equal names is at fault."""
    entry, message = the_fault_of(plugin() + plugin())
    assert entry == "plugin[1].name (line 5)"
    assert "'a' is taken by plugin[0]" in message


def test_every_cycle_is_drawn_from_the_plugin_that_is_declared_first():
    """The arrows point from a plugin to what it depends on."""
    edges = {"a": '["b"]', "b": '["c"]', "c": '["a"]', "x": '["y"]', "y": '["x", "a"]'}
    text = "".join(plugin(name=f'"{name}"', depends_on=needs) for name, needs in edges.items())
    assert [(entry, reason) for _, entry, reason, _ in faults_of(text)] == [
        ("plugin[0].depends_on (line 4)", "the plugins wait for one another: a → b → c → a"),
        ("plugin[3].depends_on (line 16)", "the plugins wait for one another: x → y → x"),
    ]


def test_circles_that_are_not_drawn_are_mentioned():
    """A hopeless graph gets a few drawings, and a line that says that there are more."""
    pairs = [(f'"a{index}"', f'"b{index}"') for index in range(100)]
    text = "".join(
        plugin(name=one, depends_on=f"[{other}]") + plugin(name=other, depends_on=f"[{one}]") for one, other in pairs
    )
    found = faults_of(text)
    assert len(found) == 17
    assert sum("further circles" in reason for _, _, reason, _ in found) == 1


def test_a_wrong_table_does_not_hide_what_else_is_wrong():
    """A plugin whose own keys are wrong still counts as a dependency, and its other keys are still judged."""
    text = plugin(path="3", version='"1 2"', functions='{ "a b" = 3 }') + plugin(name='"b"', depends_on='["a"]')
    assert [entry for _, entry, _, _ in faults_of(text)] == [
        "plugin[0].path (line 3)",
        "plugin[0].version (line 4)",
        'plugin[0].functions."a b" (line 5)',
        'plugin[0].functions."a b" (line 5)',
    ]


def test_a_hostile_key_is_shown_short_and_without_control_characters():
    """An error message cannot be used to write to the terminal, or to fill it."""
    entry, _ = the_fault_of('"\\u001b[31m' + "x" * 5000 + '" = 1\n')
    assert "\x1b" not in entry
    assert len(entry) < 100


def test_thousands_of_faults_are_all_reported():
    """Nothing is cut off."""
    text = "".join(plugin(name=f'"p{index}"', depends_on=f'["q{index}"]') for index in range(2_000))
    assert len(faults_of(text)) == 2_000
