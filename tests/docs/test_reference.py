"""The reference pages say what the code says: names, tables, files, commands."""

import json
import re
import shlex
from pathlib import Path

import attrs
import typer.main

import jackfield
from jackfield import errors
from jackfield.cli import app
from jackfield.config import ExecutorConfig, flows
from jackfield.config import auth as configured_auth
from jackfield.config import doors as configured_doors
from jackfield.config import model as configured
from jackfield.config.keys import key_of
from jackfield.observe.record import Record

ROOT = Path(__file__).parents[2]
PACKAGE = Path(jackfield.__path__[0])
REFERENCE = ROOT / "docs" / "reference"
CONFIGURED = {
    "The top of the file": configured.Document,
    "[[plugin]]": configured.PluginConfig,
    "[plugin.worker]": configured.WorkerConfig,
    "[plugin.retry]": configured.RetryConfig,
    "[plugin.upgrade]": configured.UpgradeConfig,
    "[doors.http]": configured_doors.HttpDoorConfig,
    "[auth.jwt]": configured_auth.JwtConfig,
    "[doors.grpc]": configured_doors.GrpcDoorConfig,
    "[webhooks.NAME]": configured.WebhookConfig,
    "[deliveries.NAME]": configured.DeliveryConfig,
    "[executors.NAME]": ExecutorConfig,
    "[durable]": configured.DurableConfig,
    "[[schedule]]": configured.ScheduleConfig,
    "[routes]": configured.RouteConfig,
    "[tenants.NAME]": configured.TenantConfig,
    "[flows.NAME]": configured.FlowConfig,
    "[flows.NAME.steps.STEP]": flows.StepConfig,
    "[observability]": configured.ObservabilityConfig,
    "[observability.logs]": configured.LogsConfig,
    "[observability.metrics]": configured.MetricsConfig,
    "[host]": configured.HostConfig,
    "[store]": configured.StoreConfig,
    "[environments]": configured.EnvironmentsConfig,
}


def rows(page, columns):
    """Give the cells of every row of the page's tables that have that many columns, backticks taken off."""
    for line in (REFERENCE / page).read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `") and len(cells) == columns:
            yield cells


def quoted(text):
    return re.findall(r"`([^`]+)`", text)


def test_the_api_page_lists_the_public_names():
    """Each name of `jackfield.__all__` is there, once, and no other."""
    assert sorted(quoted(cells[0])[0] for cells in rows("api.md", 2)) == jackfield.__all__


def test_the_table_of_outcomes_is_the_code_s():
    """Each outcome, in order, with its error, its statuses and its level."""
    by_outcome = {name: cells for cells in rows("errors.md", 6) if (name := quoted(cells[0])[0])}
    assert list(by_outcome) == list(errors.OUTCOMES)
    for outcome, row in errors.OUTCOMES.items():
        _, error, *told = by_outcome[outcome]
        assert told == [str(row.http), str(row.grpc), "ERROR" if row.span_error else "UNSET", row.level]
        assert not error or getattr(errors, quoted(error)[0]).outcome is outcome


def test_the_errors_have_the_fields_that_the_page_gives_them():
    """Each error with fields of its own is in the table, with them in order; and all are in the tree."""
    classes = [
        each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, errors.JackfieldError)
    ]
    own = {
        each.__name__: [field.name for field in attrs.fields(each)]
        for each in classes
        if "__attrs_attrs__" in vars(each)
    }
    assert {quoted(name)[0]: quoted(fields) for name, fields in rows("errors.md", 2)} == own
    tree = (REFERENCE / "errors.md").read_text("utf-8").partition("```text")[2].partition("```")[0]
    assert set(re.findall(r"\w+", tree)) >= {each.__name__ for each in classes}


def test_the_page_of_the_environment_has_every_variable():
    """What the package reads is described, and nothing else."""
    read = {
        name for file in PACKAGE.rglob("*.py") for name in re.findall(r'"(JACKFIELD_[A-Z_]+)"', file.read_text("utf-8"))
    }
    assert {quoted(cells[0])[0] for cells in rows("environment.md", 3)} == read


def test_the_page_of_records_has_every_field():
    """The table of the log record is the record."""
    text = (REFERENCE / "metrics-spans-logs.md").read_text("utf-8").partition("## Log records")[2]
    listed = [name for line in text.splitlines() if line.startswith("| `") for name in quoted(line.split("|")[1])]
    assert sorted(listed) == sorted(Record.__struct_fields__)


def source(file):
    """Give the text of a test or a module, or of all modules of a package (`payload/`); None for neither."""
    place = ROOT / file if file.startswith("tests/") else PACKAGE / file
    if place.is_dir():
        return "\n".join(module.read_text("utf-8") for module in sorted(place.glob("*.py")))
    return place.read_text("utf-8") if place.is_file() else None


def test_files_and_functions_that_pages_name_exist():
    """A file or package that a page names is there, and what is said to be in it is."""
    wrong = []
    for page in (ROOT / "docs").rglob("*.md"):
        text = page.read_text("utf-8")
        pairs = re.findall(r"`([\w.]+)`,? \(?(?:in|also) `([\w/]+(?:\.py|/))`", text)
        if page.parent.name in {"explanation", "decisions"}:
            pairs += [("", name) for name in re.findall(r"`([\w/]+(?:\.py|/))`", text) if "/jackfield/" not in name]
            pairs += [
                (found[0], file)
                for file, said in re.findall(r"^\| \d+ \| `([\w/.]+)` \| (.+) \|$", text, re.MULTILINE)
                if (found := quoted(said))
            ]
        for name, file in pairs:
            found = source(file)
            if found is None:
                wrong.append(f"{page.name}: there is no {file}")
            elif name.rpartition(".")[2] not in found:
                wrong.append(f"{page.name}: {name} is not in {file}")
    assert not wrong, "\n".join(wrong)


def test_the_page_of_the_configuration_has_every_key():
    """Each table of the file is a section whose rows are its keys, in order, with their defaults as TOML has them."""
    text = (REFERENCE / "configuration.md").read_text("utf-8")
    for title, model in CONFIGURED.items():
        section = text.partition(f"## {title}\n")[2].partition("\n## ")[0]
        cells = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("| `")]
        keys = {
            quoted(row[0])[0]: row[2].strip() for row in cells if len(row) == len(("key", "type", "default", "meaning"))
        }
        assert list(keys) == [key_of(field) for field in attrs.fields(model)]
        for field in attrs.fields(model):
            shown = quoted(keys[key_of(field)])
            assert not shown or json.loads(shown[0]) == default(field), f"{title}.{field.name}"
            assert (not keys[key_of(field)]) is (field.default is attrs.NOTHING), f"{title}.{field.name}"


def default(field):
    """Give a field's default as TOML can say it."""
    value = field.default.factory() if isinstance(field.default, attrs.Factory) else field.default
    return list(value) if isinstance(value, tuple) else value


def test_commands_that_pages_show_can_be_given(page):
    """A line with pluginctl has a verb and options that pluginctl has."""
    command = typer.main.get_command(app)
    verbs = command.commands
    blocks = re.findall(r"^```console\n(.*?)^```", page.path.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    for line in (line.removeprefix("$ ") for block in blocks for line in block.splitlines()):
        words = shlex.split(line, comments=True)
        if "pluginctl" not in words[:3]:
            continue
        given = words[words.index("pluginctl") + 1 :]
        end = next((index for index, word in enumerate(given) if word in {"|", ">", "<", ">>", "&&"}), len(given))
        root = command.make_context("pluginctl", given[:end], resilient_parsing=True)
        verb, *rest = [*root._protected_args, *root.args]
        assert verb in verbs, line
        verbs[verb].make_context(verb, rest)
