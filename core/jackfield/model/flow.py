"""A flow as data: steps that call functions, and what each takes of the others' results."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, Literal

import attrs

INPUT: Final = "input"
"""What a flow was called with, as references name it."""

ITEM: Final = "item"
"""What a step with `each` is at, as its references name it."""

PARALLEL: Final = 8
"""How many items of an `each` are worked on at once, unless the step says."""

DEEPEST: Final = 64
"""How many levels of what a step is called with are followed."""

OnError = Literal["fail", "continue"]
"""What becomes of a flow when a step fails: it fails and the rest is cancelled, or what does not need it goes on."""

KeyPath = tuple[str | int, ...]

_REFERENCE: Final = re.compile(r"\$(?P<source>[^\W\d]\w*)(?P<keys>(?:\.[^.]+)*)")


@attrs.frozen
class Reference:
    """What stands for a part of the input, of a step's result, or of an item.

    Attributes:
        source: `input`, `item`, or a step.
        keys: of tables, and places in lists, from the outside in.
    """

    source: str
    keys: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> "Reference | None":
        """Read one.

        Args:
            text: as in `$auth.user.id`.

        Returns:
            The reference, or None where the text is none.

        Examples:
            >>> Reference.parse("$auth.user.id")
            Reference(source='auth', keys=('user', 'id'))
            >>> Reference.parse("$5") is Reference.parse("auth") is None
            True
        """
        found = _REFERENCE.fullmatch(text)
        return None if found is None else cls(found["source"], tuple(found["keys"].split(".")[1:]))

    def __str__(self) -> str:
        """Write it as it is read."""
        return f"${'.'.join((self.source, *self.keys))}"


def is_reference(value: object) -> bool:
    """Tell whether a value begins as a reference does: with one dollar, since two stand for a dollar."""
    return isinstance(value, str) and value.startswith("$") and not value.startswith("$$")


def references(value: Any, at: KeyPath = ()) -> Iterator[tuple[KeyPath, str]]:
    """Walk the texts within a value that are to be references.

    Args:
        value: plain data.
        at: where it stands.

    Raises:
        RecursionError: if it is nested too deeply.

    Examples:
        >>> list(references({"to": ["$auth.mail"], "price": "$$5"}))
        [(('to', 0), '$auth.mail')]
    """
    if len(at) > DEEPEST:
        raise RecursionError(f"nested more than {DEEPEST} levels deep")
    if isinstance(value, str):
        if is_reference(value):
            yield at, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from references(item, (*at, str(key)))
    elif isinstance(value, list | tuple):
        for place, item in enumerate(value):
            yield from references(item, (*at, place))


@attrs.frozen
class Step:
    """One call of a flow.

    Attributes:
        name: by which others refer to its result.
        call: the function.
        with_: what it is called with: values by parameter, or one value; references within it are replaced. None for no
            payload.
        after: steps that must have ended well before it begins; those that it refers to need not be named.
        each: a reference to a list: the step is done once for each item of it, and its result is the list of theirs.
        parallel: how many items are worked on at once; by default 8.
        on_error: what becomes of the flow when it fails.
    """

    name: str
    call: str
    with_: Any = None
    after: tuple[str, ...] = ()
    each: str | None = None
    parallel: int | None = None
    on_error: OnError = "fail"

    @property
    def sources(self) -> tuple[str, ...]:
        """What its references begin with, each once."""
        texts = [text for _, text in references(self.with_)] + ([] if self.each is None else [self.each])
        found = (Reference.parse(text) for text in texts)
        return tuple(dict.fromkeys(each.source for each in found if each is not None))

    @property
    def needs(self) -> tuple[str, ...]:
        """The steps that must have ended well before it: those that it comes after, and those that it refers to."""
        return tuple(dict.fromkeys([*self.after, *(name for name in self.sources if name not in (INPUT, ITEM))]))


@attrs.frozen
class Flow:
    """Functions that call one another's results: itself a function, once a host has it.

    It is a value: `step` gives another flow. Nothing is checked before a host takes it.

    Attributes:
        name: by which it is called, as any function.
        version: as of any function.
        timeout: seconds that a call of it may take, all steps together.
        output: what its result is, with references; by default the result of the last step, or a table of those of the
            last ones. A step is a last one when no other needs it.
        steps: in the order in which they were written.

    Examples:
        >>> flow = (
        ...     Flow("checkout")
        ...     .step("auth", "auth.check", token="$input.token")
        ...     .step("log", "audit.log", after=["auth"])
        ... )
        >>> [(step.name, step.needs) for step in flow.steps], flow.last
        ([('auth', ()), ('log', ('auth',))], ('log',))
    """

    name: str
    version: str = attrs.field(default="0", kw_only=True)
    timeout: float | None = attrs.field(default=None, kw_only=True)
    output: Any = attrs.field(default=None, kw_only=True)
    steps: tuple[Step, ...] = attrs.field(default=(), kw_only=True)

    def step(
        self,
        name: str,
        call: str,
        /,
        *,
        with_: Any = None,
        after: Iterable[str] = (),
        each: str | None = None,
        parallel: int | None = None,
        on_error: OnError = "fail",
        **values: Any,
    ) -> "Flow":
        """Give the flow with one step more.

        Args:
            name: an identifier, by which others refer to its result.
            call: the function.
            with_: all that it is called with, in place of values by name.
            after: steps that it comes after.
            each: a reference to a list: the step is done for each item, which `$item` refers to.
            parallel: how many items are worked on at once.
            on_error: `continue` to go on without it and what needs it.
            values: what the function is called with, by parameter.

        Raises:
            TypeError: if it is given both `with_` and values by name.
        """
        if values and with_ is not None:
            raise TypeError(f"step {name!r}: give `with_`, or values by name")
        if isinstance(after, str):
            raise TypeError(f"step {name!r}: `after` is a list of steps, as in after=[{after!r}]")
        made = Step(name, call, values or with_, tuple(after), each, parallel, on_error)
        return attrs.evolve(self, steps=(*self.steps, made))

    @property
    def last(self) -> tuple[str, ...]:
        """The steps that no other needs."""
        needed = {name for step in self.steps for name in step.needs}
        return tuple(step.name for step in self.steps if step.name not in needed)

    @property
    def key(self) -> str:
        """`name@version`."""
        return f"{self.name}@{self.version}"
