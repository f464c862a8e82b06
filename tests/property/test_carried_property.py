"""What headers say of a trace is read as OpenTelemetry's own propagators read it."""

import string

from hypothesis import example, given
from hypothesis import strategies as st
from opentelemetry import baggage, propagate
from opentelemetry.context import Context
from opentelemetry.trace import get_current_span

from jackfield.model.headers import Headers
from jackfield.observe.carried import extractor

HEX = string.hexdigits + "gG-_+ \u0660"
well_formed = st.from_regex(r"\A[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-[a-z]{1,3})?\Z")
odd = st.builds("-".join, st.lists(st.text(HEX, min_size=1, max_size=33), min_size=1, max_size=5))
parents = well_formed | odd | st.just("")


@given(
    parent=parents,
    more=st.dictionaries(st.sampled_from(["tracestate", "baggage", "x-other"]), st.just("a=1"), max_size=3),
    name=st.sampled_from(["traceparent", "Traceparent", "TRACEPARENT"]),
)
@example(parent=f"00-{'0' * 32}-{'1' * 16}-01", more={}, name="traceparent")
@example(parent=f"00-{'1' * 32}-{'0' * 16}-01", more={}, name="traceparent")
@example(parent=f"ff-{'1' * 32}-{'1' * 16}-01", more={}, name="traceparent")
@example(parent=f"00-{'A' * 32}-{'1' * 16}-01", more={}, name="traceparent")
def test_headers_are_read_as_the_propagators_read_them(parent, more, name):
    """The same trace, span, flags and baggage; and none, where they see none."""
    headers = Headers({name: parent, **more})
    theirs, ours = propagate.extract(headers, Context()), extractor()(headers, Context())
    assert get_current_span(ours).get_span_context() == get_current_span(theirs).get_span_context()
    assert get_current_span(ours).get_span_context().is_remote == get_current_span(theirs).get_span_context().is_remote
    assert baggage.get_all(ours) == baggage.get_all(theirs)


@given(
    st.dictionaries(
        st.text(string.ascii_letters, min_size=1).filter(
            lambda n: n.lower() not in {"traceparent", "tracestate", "baggage"}
        ),
        st.text(),
    )
)
def test_headers_of_no_trace_leave_the_context_as_it_is(headers):
    """The very same, so that nothing is attached."""
    context = Context()
    assert extractor()(Headers(headers), context) is context
