"""A manifest as text: that of a value, and one proposed for a plugin that has none."""

from collections.abc import Iterable
from typing import Any

import yaml

from jackfield.manifests.model import Manifest

_HEAD = """\
# What {name} asks for when it runs apart from the host. It is only a request: `allow` under [plugin.worker] answers it.
"""
_MORE = """\
# resources:
#   cpu: 500m
#   memory: 512Mi
# capabilities:
#   - network:outbound:api.example.com:443
#   - storage:readonly:/data
#   - storage:scratch
# lifecycle:
#   healthcheck: /health?timeout=3s
#   graceful-shutdown: /shutdown?timeout=15s
# idempotent: [{example}]
"""


def proposed(name: str, functions: Iterable[str]) -> str:
    """Write a manifest for a plugin that has none: it asks for nothing, and shows what could be asked for.

    Args:
        name: of its distribution.
        functions: that its entry points advertise.
    """
    names = sorted(functions)
    said: dict[str, Any] = {"name": name}
    if names:
        said["functions"] = names
    example = names[0] if names else f"{name}.*"
    return _HEAD.format(name=name) + _yaml(said) + _MORE.format(example=example)


def written(manifest: Manifest) -> str:
    """Write a manifest down; reading it again gives an equal one.

    Args:
        manifest: which.
    """
    resources = manifest.resources
    said = {
        "name": manifest.name,
        "version": manifest.version,
        "functions": None if manifest.functions is None else list(manifest.functions),
        "resources": {
            "cpu": resources.cpu,
            "memory": resources.memory,
            "pids": resources.pids,
            "open_files": resources.open_files,
        },
        "capabilities": list(manifest.asks.capabilities()),
        "lifecycle": {
            "healthcheck": manifest.healthcheck and str(manifest.healthcheck),
            "graceful-shutdown": manifest.graceful_shutdown and str(manifest.graceful_shutdown),
        },
        "idempotent": list(manifest.idempotent),
        "restart": manifest.restart,
        "imports": "eager" if manifest.asks.eager else None,
    }
    return _yaml(_without_nothing(said))


def _without_nothing(said: dict[str, Any]) -> dict[str, Any]:
    tables = {key: _without_nothing(value) if isinstance(value, dict) else value for key, value in said.items()}
    return {
        key: value for key, value in tables.items() if value not in (None, {}) and (value != [] or key == "functions")
    }


def _yaml(said: dict[str, Any]) -> str:
    return yaml.safe_dump(said, sort_keys=False, allow_unicode=True, width=120) if said else "{}\n"
