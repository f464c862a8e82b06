"""The verbs that take the state of a host's store out, and bring it in."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import attrs

from jackfield.errors import Rejected
from jackfield.host import Host
from jackfield.ports import Store

BATCH: Final = 4 * 1024 * 1024
"""Bytes of lines that travel at once."""

LINE: Final = 15 * 1024 * 1024
"""The longest line that can travel."""


def export(host: Host, secrets: bool = False) -> Iterator[dict[str, Any]]:
    """Give all that is exported, some lines after the other: `{"done", "of", "lines"}`."""
    return _exported(host, secrets)


def _exported(host: Host, secrets: bool) -> Iterator[dict[str, Any]]:
    from jackfield.desired.portable import PARTS, LeftLine, write_line  # noqa: PLC0415  # for those who ask

    for number, part in enumerate(PARTS, 1):
        texts: list[str] = []
        size = 0
        for text in host.durable_calls.asked(lambda store: _part(store, part, secrets)):  # noqa: B023  # awaited here
            if len(text) > LINE:
                reason = "it is larger than what a control socket takes: stop the host, and name its store"
                text = write_line(LeftLine(text[:80], reason))  # noqa: PLW2901  # in its place
            if size + len(text) > BATCH and texts:
                yield {"done": number - 1, "of": len(PARTS), "lines": texts}
                texts, size = [], 0
            texts.append(text)
            size += len(text)
        yield {"done": number, "of": len(PARTS), "lines": texts}


async def _part(store: Store, part: str, secrets: bool) -> list[str]:
    from jackfield.desired.portable import taken_out, write_line  # noqa: PLC0415  # as above

    return [write_line(line) async for line in taken_out(store, part, secrets=secrets)]


def bring_in(host: Host, lines: list[str], hosts: list[str], replace: bool = False) -> list[dict[str, Any]]:
    """Bring some lines in; give what has become of each."""
    from jackfield.desired.importing import brought_in  # noqa: PLC0415  # as above

    try:
        done = host.durable_calls.asked(lambda store: brought_in(store, lines, hosts, replace=replace))
    except ValueError as error:
        raise Rejected(str(error), code="bad_document") from error
    return [attrs.asdict(each) for each in done]


VERBS: Final[Mapping[str, Callable[..., Any]]] = {"state_export": export, "state_import": bring_in}
