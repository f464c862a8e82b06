"""The `[executors]` of a file: further places where functions run, by the names that plugins use."""

import attrs

from jackfield.config.leaves import Text
from jackfield.config.secrets import Secret


@attrs.frozen
class ExecutorConfig:
    """A further place where functions run, for the `executor` of plugins and functions.

    Attributes:
        kind: what it is; `remote` is another host.
        url: where it is: that of the other host's door.
        key: where the key is that it knows this host by: `env:NAME` or `file:/path`.
        insecure: whether the key may go there without TLS beyond this machine.
    """

    kind: Text
    url: Text
    key: Text | None = None
    insecure: bool = False


@attrs.frozen
class ExecutorSettings:
    """What the adapter of an executor is made with.

    Attributes:
        name: as plugins use it.
        kind: which adapter.
        url: where it is.
        key: the key that it knows this host by, or None.
        insecure: whether the key may go there without TLS beyond this machine.
    """

    name: str
    kind: str
    url: str
    key: Secret | None = None
    insecure: bool = False
