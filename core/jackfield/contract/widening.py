"""Whether one JSON Schema takes all that another takes: what a version must do that comes in place of an earlier one.

The schemas are those that `payload_schema` and `result_schema` write. All that `comparison` finds counts, also what
cannot be told: a keyword that is not understood must be the same on both sides.
"""

from collections.abc import Callable, Iterable, Iterator

import attrs

from jackfield.contract.comparison import Finding, Gap, compare
from jackfield.contract.payload.schema import payload_schema, result_schema
from jackfield.contract.reading import Document, Schema, bound, values
from jackfield.model.spec import FunctionSpec


def widened(old: FunctionSpec, new: FunctionSpec) -> tuple[str, ...]:
    """Say what keeps a version of a function from taking the place of an earlier one unnoticed.

    It must take every payload that the other one took, and give nothing that the other one could not have given, but
    for further fields of records.

    Args:
        old: the version that is called now.
        new: the version that is to be called instead.

    Returns:
        The differences in words; empty if callers see none.

    Examples:
        >>> from jackfield.contract import specify
        >>> def one(text: str) -> int: ...
        >>> def two(text: str | bytes) -> bool: ...
        >>> widened(specify("f", one), specify("f", two))
        ('result: it gave integer, and gives boolean',)
    """
    old_payload, new_payload = payload_schema(old), payload_schema(new)
    old_result, new_result = result_schema(old), result_schema(new)
    taken = _Told(was=Document(old_payload), now=Document(new_payload), given=False)
    given = _Told(was=Document(old_result), now=Document(new_result), given=True)
    found = (
        *taken.lines("payload", compare(new_payload, old_payload).findings),
        *given.lines("result", compare(old_result, new_result, further=True).findings),
    )
    return tuple(dict.fromkeys(found))


@attrs.frozen
class _Told:
    """What is found of a payload, which is to take what was, or of a result, which is to be among what was."""

    was: Document
    now: Document
    given: bool

    def lines(self, what: str, findings: Iterable[Finding]) -> Iterator[str]:
        for each in findings:
            if each.closer:
                yield from self.lines(what, each.closer)
            else:
                yield self._line(what, each)

    def _line(self, what: str, finding: Finding) -> str:
        was, now = (finding.wide, finding.narrow) if self.given else (finding.narrow, finding.wide)
        place = f"{what}{finding.place}"
        if finding.field is not None:
            known = not isinstance(now, bool) and finding.field in now.get("required", ())
            gone = "may be missing now" if self.given else "is required now" if known else "is not taken any more"
            return f"{place}.{finding.field}: it {gone}"
        if finding.keyword is not None:
            before, after = (_said(each, finding.keyword) for each in (was, now))
            return f"{place}: {finding.keyword} was {before}, and is {after}"
        before, after = _shown(was, self.was), _shown(now, self.now)
        if before == after and finding.gap is Gap.UNKNOWN:
            return f"{place}: whether it is the same {after} cannot be told"
        return (
            f"{place}: it {'gave' if self.given else 'took'} {before}, and {'gives' if self.given else 'takes'} {after}"
        )


def _shown(schema: Schema, root: Document) -> str:
    """Name a schema for people."""
    schema = root.resolved(schema)
    if isinstance(schema, bool):
        return "anything" if schema else "nothing"
    if "title" in schema:
        return str(schema["title"])
    join: Callable[[Iterable[str]], str] = " or ".join
    if (members := root.choices(schema)) is not None:
        return join(dict.fromkeys(_shown(each, root) for each in members))
    if (listed := values(schema)) is not None:
        return join(repr(each) for each in listed)
    said = schema.get("type")
    words = said if isinstance(said, str) else join(said) if said else "anything"
    return f"{words} ({schema['format']})" if "format" in schema else words


def _said(schema: Schema, keyword: str) -> str:
    found = None if isinstance(schema, bool) else bound(schema, keyword)
    return "not said" if found is None else repr(found)
