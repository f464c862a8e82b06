"""Whether a call in a worker is traced by its plugin: only where the plugin itself has imported OpenTelemetry's API."""

import sys
from typing import TYPE_CHECKING

from jackfield.model.call import Call

if TYPE_CHECKING:
    from jackfield.workers.inside.spans import Batch

_API = "opentelemetry.trace"


def prepare() -> None:
    """Import what records spans, if the plugin's import has brought the API: a worker may not be let open a file."""
    if _API in sys.modules:
        from jackfield.workers.inside import spans  # noqa: F401, PLC0415  # needs the API, which workers need not have


def batch_of(call: Call) -> "Batch | None":
    """Give what records the spans of a call; None if nothing traces it, here or in the host.

    Args:
        call: one that has come from the host.
    """
    if call.trace is None or _API not in sys.modules:
        return None
    from jackfield.workers.inside.spans import Batch  # noqa: PLC0415  # as above

    return Batch(call.trace)


def span_here() -> bytes | None:
    """Give the number of the plugin's own span around this, if one is recorded."""
    if _API not in sys.modules:
        return None
    from jackfield.workers.inside.spans import recorded_here  # noqa: PLC0415  # as above

    return recorded_here()
