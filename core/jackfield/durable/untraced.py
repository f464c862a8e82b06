"""What makes no spans: of hosts whose calls make none, so that OpenTelemetry is not imported for them."""

from collections.abc import Iterator
from contextlib import contextmanager

from jackfield.durable.ledger import Entry


class Untraced:
    """Makes no spans."""

    @contextmanager
    def submit(self, function: str, submission: str) -> Iterator[dict[str, str]]:  # noqa: ARG002  # of those that do
        """Be around a submit; give what carries its span to the attempts, with the baggage."""
        yield {}

    @contextmanager
    def attempt(self, entry: Entry) -> Iterator[str]:  # noqa: ARG002  # as above
        """Be around an attempt; give its span as `traceparent` has it, "" if there is none."""
        yield ""
