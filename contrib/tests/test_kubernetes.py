"""The manifest of the page on Kubernetes: by Kubernetes' own schema, and by what a host does with it."""

import importlib.util
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import yaml

from jackfield.config import load_config

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "kubernetes.md"

PLUGIN = """
from jackfield import function

@function
def count() -> int:
    return 1
"""


def manifest():
    (text,) = re.findall(r"^```yaml\n# orders.yaml\n(.*?)^```", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    return {document["kind"]: document for document in yaml.safe_load_all(text)}


@pytest.mark.skipif(
    importlib.util.find_spec("kubernetes_validate") is None,
    reason="NOT TESTED against Kubernetes' schema: kubernetes-validate is not installed",
)
@pytest.mark.parametrize("kind", ["ConfigMap", "Deployment", "Service", "PodDisruptionBudget"])
def test_each_part_is_what_kubernetes_takes(kind):
    """Strictly: a key that it does not know is a fault."""
    import kubernetes_validate  # noqa: PLC0415  # where it is installed

    kubernetes_validate.validate(manifest()[kind], "1.37", strict=True)


def test_its_parts_fit_together():
    """Ports, names, labels, and the times of the end."""
    parts = manifest()
    pod = parts["Deployment"]["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    (port,) = container["ports"]
    assert "port = 8080" in parts["ConfigMap"]["data"]["jackfield.toml"]
    assert port["containerPort"] == 8080
    assert parts["Service"]["spec"]["ports"][0]["targetPort"] == port["name"]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["port"] == port["name"]
    for kind, selector in (("Service", ["selector"]), ("PodDisruptionBudget", ["selector", "matchLabels"])):
        found = parts[kind]["spec"]
        for step in selector:
            found = found[step]
        assert found.items() <= pod["metadata"]["labels"].items()
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["spec"]["volumes"]}
    drain = int(container["args"][container["args"].index("--drain") + 1])
    waits = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod["spec"]["terminationGracePeriodSeconds"] > drain + waits


def test_its_configuration_is_one(tmp_path):
    """As far as that can be said without the plugin."""
    file = tmp_path / "jackfield.toml"
    file.write_text(manifest()["ConfigMap"]["data"]["jackfield.toml"])
    configuration = load_config(file)
    assert (list(configuration.plugins), list(configuration.tenants)) == (["orders"], ["shop"])


@pytest.mark.slow
def test_a_host_runs_with_it_and_ends_as_it_is_told(tmp_path, socket_path):
    """As the pod would, with another plugin and on loopback."""
    parts = manifest()
    (container,) = parts["Deployment"]["spec"]["template"]["spec"]["containers"]
    text = parts["ConfigMap"]["data"]["jackfield.toml"]
    text = text.replace('"my-orders-plugin"', '"./orders.py"').replace("8080", "0")
    (tmp_path / "orders.py").write_text(PLUGIN)
    (tmp_path / "jackfield.toml").write_text(text.replace("0.0.0.0", "127.0.0.1"))  # noqa: S104  # not here
    arguments = [str(tmp_path / "jackfield.toml") if each.endswith(".toml") else each for each in container["args"]]
    command = [sys.executable, "-m", "jackfield", *arguments, "--control", str(socket_path)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        try:
            line = next(line for line in process.stderr if "serving" in line)
            url = "http://" + line.split("http http://")[1].split()[0].rstrip(',"}')
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                assert httpx.get(url + container[probe]["httpGet"]["path"], timeout=60).status_code == 200
            assert httpx.post(f"{url}/v1/functions/orders.count", timeout=60).status_code == 401
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
        finally:
            process.kill()
            process.communicate()
