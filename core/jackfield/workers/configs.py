"""A plugin's configuration on its way to the plugin's zygote."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from jackfield.config import PluginConfig
from jackfield.config.secrets import Secret
from jackfield.wire.crossing import shown

_SECRET: Final = "$secret"  # noqa: S105  # the key of a reference


def write_config(config: PluginConfig) -> bytes:
    """Write a configuration for another process: a secret as its reference alone.

    Args:
        config: the plugin's.
    """
    fields = {name: getattr(config, name) for name in _FIELDS}
    return msgspec.msgpack.encode({**fields, "functions": dict(config.functions), "options": _written(config.options)})


def read_config(data: bytes, secret: Callable[[str], Any]) -> PluginConfig:
    """Read what `write_config` wrote.

    Args:
        data: that.
        secret: makes what stands for a secret in the options.
    """
    fields = msgspec.msgpack.decode(data)
    options = _read(fields.pop("options"), secret)
    return PluginConfig(**{**fields, "depends_on": tuple(fields["depends_on"]), "options": options})


_FIELDS: Final = ("name", "path", "depends_on", "version", "timeout", "start_timeout", "stop_timeout")


def _written(value: Any) -> Any:
    if isinstance(value, Secret):
        return {_SECRET: value.reference}
    if isinstance(value, Mapping):
        return {str(key): _written(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_written(item) for item in value]
    return shown(value)


def _read(value: Any, secret: Callable[[str], Any]) -> Any:
    if isinstance(value, dict):
        if value.keys() == {_SECRET}:
            return secret(value[_SECRET])
        return {key: _read(item, secret) for key, item in value.items()}
    return [_read(item, secret) for item in value] if isinstance(value, list) else value
