"""A plugin that has `upgrade`, under `pluginctl apply`, `serve --watch` and SIGHUP: real processes and wheels."""

import json
import os
import signal

import pytest
from tests.integration.test_cli_apply import Served

from support.in_workers import needs_workers, until
from support.wheels import wheel

pytestmark = [needs_workers, pytest.mark.slow]  # several processes

ENTRIES = "[jackfield.functions]\nocr.read = {module}:read\n"
TENANTS = '[tenants.t-1]\nlabels = { tier = "beta" }\n[tenants.t-2]\n'
LABELS = 'upgrade = { labels = { tier = "beta" } }'


class Rolling(Served):
    """A `pluginctl serve` of one plugin in workers."""

    def __init__(self, folder):
        super().__init__(folder)
        self.env["XDG_CACHE_HOME"] = str(folder / "cache")
        self.release("2.0")
        self.says("demo-ocr==2.0")

    def release(self, version, signature="page: int = 0"):
        code = f"def read({signature}) -> str:\n    return VERSION\n"
        path = wheel(self.folder / "built", "demo-ocr", version, code=code, entries=ENTRIES)
        (self.folder / "wheels").mkdir(exist_ok=True)
        path.rename(self.folder / "wheels" / path.name)

    def says(self, path, upgrade=LABELS):
        plugin = f'[[plugin]]\nname = "ocr"\npath = "{path}"\nexecutor = "worker"\n{upgrade}\n'
        self.config(more=f'{plugin}{TENANTS}[environments]\nfind_links = ["./wheels"]\noffline = true\n')

    def read(self, tenant):
        return self.ctl("call", "ocr.read", "--running", "--tenant", tenant).stdout.strip().strip('"')

    def canaries(self):
        return json.loads(self.ctl("canary", "--json").stdout)


@pytest.fixture
def rolling(tmp_path):
    served = Rolling(tmp_path)
    yield served
    served.close()


def test_an_apply_begins_a_trial_that_the_verbs_show_and_end(rolling):
    """`diff` and `apply` say what it will be, `status` and `canary` what it is; `--promote` ends it."""
    rolling.start()
    rolling.release("2.1")
    rolling.says("demo-ocr==2.1")
    said = "~ upgrade ocr: demo-ocr==2.0 → demo-ocr==2.1; on trial with all of tier=beta"
    assert said in rolling.ctl("diff", code=3).stdout
    assert f"{said} (done)" in rolling.ctl("apply", "jackfield.toml").stdout
    shown = "ocr: 2.1 beside 2.0, 100% of tier=beta: running"
    assert shown in rolling.ctl("canary").stdout
    assert f"canary {shown}" in rolling.ctl("status").stdout
    assert [rolling.read(tenant) for tenant in ("t-1", "t-2")] == ["2.1", "2.0"]
    plan = json.loads(rolling.ctl("apply", "jackfield.toml", "--json").stdout)
    assert plan["changes"] == []
    assert [(each["field"], each["by"], each["verb"]) for each in plan["drift"]] == [("plugin.ocr", "file", "upgrade")]
    rolling.ctl("canary", "ocr", "--promote")
    assert [rolling.read(tenant) for tenant in ("t-1", "t-2")] == ["2.1", "2.1"]
    rolling.ctl("diff")


def test_a_refused_version_is_exit_code_1_with_the_place_and_the_fix(rolling):
    """And the old one serves."""
    rolling.start()
    rolling.release("2.1", "page: str = ''")
    rolling.says("demo-ocr==2.1")
    done = rolling.ctl("apply", "jackfield.toml", code=1)
    assert "~ upgrade ocr: demo-ocr==2.0 → demo-ocr==2.1" in done.stdout
    assert "it took integer, and takes string" in done.stdout
    assert "jackfield.toml:1" in done.stdout
    assert "pluginctl upgrade ocr 'demo-ocr==2.1' --force" in done.stdout
    assert rolling.read("t-1") == "2.0"


def test_a_watched_host_rolls_out_what_appears(rolling):
    """A wheel in `find_links` that the requirement allows; then another requirement, which is told of by SIGHUP."""
    rolling.says("demo-ocr>=2.0,<3")
    rolling.start("--watch")
    rolling.release("2.1")
    assert any(line.startswith("changed: ") for line in rolling.until("upgrade ocr: "))
    until(lambda: [each["version"] for each in rolling.canaries()] == ["2.1"])
    assert [rolling.read(tenant) for tenant in ("t-1", "t-2")] == ["2.1", "2.0"]
    rolling.ctl("canary", "ocr", "--promote")
    assert rolling.read("t-2") == "2.1"


def test_sighup_rolls_out_what_the_file_says(rolling):
    """As an apply does."""
    rolling.start()
    rolling.release("2.1")
    rolling.says("demo-ocr==2.1")
    os.kill(rolling.process.pid, signal.SIGHUP)
    rolling.until("upgrade ocr: demo-ocr==2.0 → demo-ocr==2.1")
    until(lambda: [each["state"] for each in rolling.canaries()] == ["running"])
    assert rolling.read("t-1") == "2.1"
    rolling.ctl("canary", "ocr", "--abort")
    assert rolling.read("t-1") == "2.0"
    assert "since the trial was aborted" in rolling.ctl("diff", code=3).stdout


def test_a_host_that_is_killed_serves_what_its_file_says(rolling):
    """While a version was on trial."""
    rolling.start()
    rolling.release("2.1")
    rolling.says("demo-ocr==2.1")
    rolling.ctl("apply", "jackfield.toml")
    assert rolling.read("t-2") == "2.0"
    rolling.process.kill()
    rolling.process.wait(60)
    rolling.process.stderr.close()
    rolling.start()
    assert [rolling.read(tenant) for tenant in ("t-1", "t-2")] == ["2.1", "2.1"]
    rolling.ctl("diff")


def test_labels_alone_say_who_tries_a_version(rolling):
    """Of `pluginctl upgrade`: all that have them."""
    rolling.start()
    rolling.release("2.1")
    shown = rolling.ctl("upgrade", "ocr", "demo-ocr==2.1", "--label", "tier=beta").stdout
    assert "100% of tier=beta: running" in shown
    assert [rolling.read(tenant) for tenant in ("t-1", "t-2")] == ["2.1", "2.0"]
