"""The rules and the dashboard that ship in docs/ops hold: promtool takes them, and a host gives what they ask for."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from tests.integration.test_cli_apply import Served

OPS = Path(__file__).parents[2] / "docs" / "ops"
RULES = yaml.safe_load((OPS / "jackfield.rules.yml").read_text("utf-8"))
DASHBOARD = json.loads((OPS / "grafana-dashboard.json").read_text("utf-8"))
RECORDED = {rule["record"] for group in RULES["groups"] for rule in group["rules"] if "record" in rule}
ALERTS = {rule["alert"]: rule for group in RULES["groups"] for rule in group["rules"] if "alert" in rule}
EXTERNAL = {"job", "instance"}  # labels that Prometheus adds to what it scrapes
NOT_OURS = {"up"}

_TEXT = re.compile(r'"[^"]*"')
_METRIC = re.compile(r"(?<![\w:])([a-zA-Z]\w*[_:][\w:]*|up)(\{[^}]*\})?(?![\w:(])")
_BY = re.compile(r"\b(?:by|on|without|ignoring|group_left|group_right)\s*\([^)]*\)")
_LABEL = re.compile(r'(\w+)\s*(?:=~|!~|!=|=)\s*""')


@pytest.fixture
def promtool():
    """Prometheus's own checker; it comes with the package `prometheus` of Debian."""
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("NOT CHECKED: promtool is not on this machine (`nox -s ops` fetches it)")
    return found


@pytest.mark.parametrize(
    "arguments", [("check", "rules", "jackfield.rules.yml"), ("test", "rules", "jackfield.rules.test.yml")]
)
def test_promtool_takes_the_rules(promtool, arguments):
    """They are rules, and their own tests pass."""
    done = subprocess.run([promtool, *arguments], cwd=OPS, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tested_and_says_what_to_do():
    """A summary, a description, a severity; and the page about them has it."""
    tested = (OPS / "jackfield.rules.test.yml").read_text("utf-8")
    page = (OPS.parent / "how-to" / "alerts.md").read_text("utf-8")
    for name, rule in ALERTS.items():
        assert rule["annotations"].keys() == {"summary", "description"}, name
        assert rule["labels"]["severity"] in {"page", "ticket", "info"}, name
        assert name in tested, f"{name} is in no test of the rules"
        assert f"`{name}`" in page, f"{name} is not on the page"


def queries():
    """Give every expression: where it is, and it."""
    for group in RULES["groups"]:
        for rule in group["rules"]:
            yield rule.get("alert") or rule["record"], rule["expr"]
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            yield f"dashboard: {panel['title']}", target["expr"]
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            yield f"dashboard: ${variable['name']}", variable["definition"]


def asked_for(expression):
    """Give the metrics of an expression, each with the labels that it is selected by."""
    plain = _BY.sub("", _TEXT.sub('""', expression)).replace("[$__rate_interval]", "")
    for name, selector in _METRIC.findall(plain):
        if name not in {"histogram_quantile", "label_values", "min_over_time"}:
            yield name, set(_LABEL.findall(selector))


def test_what_queries_ask_for_is_read_right():
    """Else the next test would prove nothing."""
    text = 'sum by (job, a_b) (rate(x_total{job=~"$job", y!="c_d"}[5m])) / on (job) group_left () job:z:ratio5m > 0'
    assert list(asked_for(f'{text} and up{{q=""}} == 0')) == [
        ("x_total", {"job", "y"}),
        ("job:z:ratio5m", set()),
        ("up", {"q"}),
    ]


@pytest.fixture(scope="module")
def scraped(tmp_path_factory):
    """Scrape a host that has all that there is to see: tenants with shares, a store that lasts, a worker, a trial."""
    folder = tmp_path_factory.mktemp("served")
    served = Served(folder)
    one = "from jackfield import function\n@function\ndef one() -> int:\n    return 1\n"
    (folder / "a.py").write_text(one)
    (folder / "b.py").write_text(one)
    worker = 'executor = "worker"\n' if sys.platform == "linux" else ""
    more = f'{worker}[store]\nurl = "sqlite:x.db"\n[tenants.gold]\nweight = 2.0\nseats = 1\n[tenants.free]\n'
    served.config("a", "b", more=more)
    served.start()
    try:
        served.ctl("call", "a.one", "--running", "--tenant", "gold")
        served.ctl("call", "b.one", "--running", "--tenant", "free")
        served.ctl("submit", "a.one")
        status = json.loads(served.ctl("status", "--json").stdout)
        with urlopen(status["metrics"], timeout=30) as answer:  # noqa: S310  # its own host's
            text = answer.read().decode()
    finally:
        served.close()
    found = {}
    for family in text_string_to_metric_families(text):
        found.setdefault(family.name, set())
        if family.type == "counter":
            found.setdefault(f"{family.name}_total", set())
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


@pytest.mark.slow
def test_every_query_asks_for_what_a_host_gives(scraped):
    """Metrics by their names, and of those that are there the labels."""
    assert scraped["scheduler_admission_calls"] == {"tenant", "state"}
    wrong = []
    for where, expression in queries():
        asked = list(asked_for(expression))
        assert asked, f"{where} asks for nothing: {expression}"
        for name, labels in asked:
            if name in RECORDED | NOT_OURS:
                continue
            if name not in scraped:
                wrong.append(f"{where}: {name} is no metric of a host")
            elif scraped[name] and labels - scraped[name] - EXTERNAL:
                wrong.append(f"{where}: {name} has no labels {labels - scraped[name] - EXTERNAL}")
    assert not wrong


@pytest.mark.slow
def test_the_dashboard_shows_every_metric(scraped):
    """But for what is told by others on it."""
    shown = {name for where, expression in queries() if "dashboard" in where for name, _ in asked_for(expression)}
    shown = {re.sub("_(total|bucket|count|sum)$", "", name) for name in shown}
    families = {re.sub("_(total|bucket|count|sum|created|info)$", "", name) for name in scraped}
    ours = {name for name in families if name.startswith(("jackfield_", "scheduler_"))}
    left_out = {"scheduler_admission_function_calls", "jackfield_worker_starts", "jackfield_build"}
    assert ours - shown - left_out == set()


def test_the_dashboard_is_one():
    """Grafana takes no panel twice, and none that lies on another."""
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(cells)) == len(cells)
    for panel in panels:
        for target in panel.get("targets", ()):
            assert target["datasource"]["uid"] == "${datasource}"
            assert 'job=~"$job"' in target["expr"]
