"""The spans of one call as a tree, for `call --trace`."""

from collections import defaultdict

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from jackfield.observe.spans import OUTCOME, VERSION, Spans


class Trace:
    """Records the spans of this process: jackfield's, and those that plugins and their libraries make.

    Attributes:
        observer: to be given to the host.
    """

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        trace.set_tracer_provider(provider)
        self.observer = Spans(provider)

    def show(self) -> None:
        """Draw the spans that have ended, on stderr."""
        ended = self._exporter.get_finished_spans()
        known = {span.context.span_id for span in ended if span.context is not None}
        children: defaultdict[int | None, list[ReadableSpan]] = defaultdict(list)
        for span in sorted(ended, key=lambda span: span.start_time or 0):
            parent = span.parent.span_id if span.parent is not None and span.parent.span_id in known else None
            children[parent].append(span)
        console = Console(stderr=True)
        for root in children[None]:
            tree = Tree(_label(root))
            pending = [(root, tree)]
            while pending:
                span, branch = pending.pop()
                below = children[span.context.span_id] if span.context is not None else []
                pending += [(child, branch.add(_label(child))) for child in below]
            console.print(tree, soft_wrap=True)


def _label(span: ReadableSpan) -> Text:
    attributes = span.attributes or {}
    version = "@" + str(attributes[VERSION]) if VERSION in attributes else ""
    took = ((span.end_time or 0) - (span.start_time or 0)) / 1e6
    good = span.status.is_ok
    outcome = attributes.get(OUTCOME, "" if good else "error")
    return Text.assemble(
        (f"{span.name}{version}", "bold"), f"  {took:,.2f} ms  ", (str(outcome), "green" if good else "red")
    )
