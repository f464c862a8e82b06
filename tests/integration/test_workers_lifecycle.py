"""What a manifest says of a plugin's life holds in its workers: health, shutdown, what may be tried again, restarts."""

import pytest
from loguru import logger
from tests.support.in_workers import apart, needs_workers, until, written

from jackfield import Host, PluginState

pytestmark = needs_workers

CODE = """
import asyncio, os, time
from jackfield import function

state = {"well": True, "slow": 0.0}

@function
def is_well() -> bool:
    time.sleep(state["slow"])
    return state["well"]

@function
async def awaited() -> bool:
    await asyncio.sleep(0)
    return state["well"]

@function
def fall_ill() -> None:
    state["well"] = False

@function
def slow_down(seconds: float) -> None:
    state["slow"] = seconds

class Plugin:
    def well(self) -> bool:
        return state["well"]

    def shutdown(self) -> None:
        print("has shut down", flush=True)

    def stop(self) -> None:
        print("has stopped", flush=True)
"""


def manifest(folder, text):
    (folder / "plugin-manifest.yaml").write_text(text, "utf-8")


def hosted(folder, text, more=""):
    """Give a host of the plugin, with a manifest."""
    manifest(folder, text)
    return apart(folder, CODE, more)


@pytest.mark.parametrize("name", ["is_well", "apart.is_well", "awaited"])
def test_a_healthcheck_is_a_function_of_the_plugin(tmp_path, name):
    """By its whole name, or its name in the plugin; sync or async."""
    with hosted(tmp_path, f"lifecycle:\n  healthcheck: /{name}?timeout=3s\n") as host:
        assert host.health("apart")["apart"].healthy
        host.call("apart.fall_ill")
        found = host.health("apart")["apart"]
        assert not found.healthy
        assert "gave False" in found.reason


def test_a_healthcheck_has_its_own_time(tmp_path):
    """One that takes longer is not healthy."""
    with hosted(tmp_path, "lifecycle:\n  healthcheck: /is_well?timeout=100ms\n") as host:
        host.call("apart.slow_down", 1.0)
        assert host.health("apart")["apart"].reason == "its healthcheck apart.is_well took longer than 0.1 s"


def as_object(folder, text, code=CODE, more=""):
    """Give a host of the plugin as an object of its file."""
    manifest(folder, text)
    file = written(folder, code, more)
    file.write_text(file.read_text("utf-8").replace("./apart.py", "./apart.py:Plugin"), "utf-8")
    return Host.from_config(file, observers=())


def test_a_healthcheck_is_a_method_of_the_object(tmp_path):
    with as_object(tmp_path, "lifecycle:\n  healthcheck: /well\n") as host:
        assert host.health("apart")["apart"].healthy


def test_a_graceful_shutdown_comes_before_the_stop(tmp_path):
    """In every worker; both are logged, since they print."""
    said = []
    sink = logger.add(lambda message: said.append(message.record["message"]))
    try:
        with as_object(tmp_path, "lifecycle:\n  graceful-shutdown: /shutdown?timeout=15s\n") as host:
            assert host.plugins["apart"].state is PluginState.RUNNING
            host.stop_plugin("apart")
            until(lambda: "plugin apart: has stopped" in said)
    finally:
        logger.remove(sink)
    assert said.index("plugin apart: has shut down") < said.index("plugin apart: has stopped")


def test_a_lifecycle_that_names_nothing_is_a_fault(tmp_path):
    """The plugin runs without it."""
    with hosted(tmp_path, "lifecycle:\n  healthcheck: /nothing\n") as host:
        assert host.health("apart")["apart"].healthy
        (fault,) = host.faults
        assert "'nothing', which is neither a function nor a method" in fault.reason
        assert fault.where.endswith("plugin-manifest.yaml")


def test_what_may_be_tried_again_is_said_by_patterns(tmp_path):
    with hosted(tmp_path, "idempotent: ['apart.is_*']\n") as host:
        assert host.describe("apart.is_well").policy.idempotent
        assert not host.describe("apart.fall_ill").policy.idempotent


@pytest.mark.parametrize(
    ("said", "configured", "restarted"),
    [("restart: always\n", "", True), ("", "", False), ("restart: always\n", 'restart = "never"\n', False)],
)
def test_a_manifest_says_when_to_restart_where_the_configuration_does_not(tmp_path, said, configured, restarted):
    """Of a plugin whose start fails."""
    failing = CODE.replace("    def stop(self)", "    def start(self):\n        raise ValueError\n\n    def stop(self)")
    with as_object(tmp_path, f"idempotent: true\n{said}", failing, configured) as host:
        assert host.plugins["apart"].state is PluginState.FAILED
        assert (host.plugins["apart"].restart_at is not None or host.plugins["apart"].restarts > 0) is restarted
