"""What is told of a call: a CloudEvent in structured mode, so that what is signed is all of it."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from cloudevents.core.bindings.http import to_structured_event
from cloudevents.core.v1.event import CloudEvent
from standardwebhooks import Webhook

from jackfield import to_json
from jackfield.durable.deliveries import Message
from jackfield.durable.records import failure_of
from jackfield.model.submission import SubmissionState
from jackfield.wire.crossing import unpack
from jackfield_contrib.http import problems

TYPE: Final = "jackfield.call."
"""What the types of events begin with; the status that the call has come to follows."""


def document(message: Message) -> dict[str, Any]:
    """Describe a call that has ended, as `GET /v1/calls/ID` does."""
    entry = message.entry
    call, state = entry.call, entry.now
    said: dict[str, Any] = {"id": entry.id, "function": call.function, "status": state.status.value}
    if call.tenant is not None:
        said["tenant"] = call.tenant
    if state.status is SubmissionState.SUCCEEDED:
        # What JSON has no form for is written as results over HTTP are.
        return {**said, "result": msgspec.json.decode(to_json(unpack(state.result)))}
    return {**said, "problem": dict(problems.of_error(failure_of(state, call.function)).document)}


def written(message: Message) -> tuple[dict[str, str], bytes]:
    """Write the event; give the headers and the body."""
    entry = message.entry
    attributes: dict[str, Any] = {
        "id": message.id,
        "source": f"/v1/calls/{entry.id}",
        "type": f"{TYPE}{entry.status.value}",
        "subject": entry.call.function,
        "time": datetime.fromtimestamp(entry.now.at, UTC),
        "datacontenttype": "application/json",
    }
    if traceparent := entry.call.trace.get("traceparent"):
        attributes["traceparent"] = traceparent
    event = to_structured_event(CloudEvent(attributes, document(message)))
    return dict(event.headers), event.body


def signed(message: Message, body: bytes, secrets: Sequence[str], now: datetime) -> Mapping[str, str]:
    """Sign a body by Standard Webhooks, with each of the secrets."""
    signatures = [Webhook(secret).sign(message.id, now, body.decode()) for secret in secrets]
    return {
        "webhook-id": message.id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signatures),
    }
