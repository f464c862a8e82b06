"""One call, whichever RPC has brought it: from its message to its reply."""

from google.rpc.status_pb2 import Status

from jackfield import Host
from jackfield.errors import JackfieldError, ResourceExhausted
from jackfield.model.deadline import LONGEST
from jackfield_contrib.grpc import bodies, statuses
from jackfield_contrib.grpc.access import Asker
from jackfield_contrib.grpc.bounds import Bounds
from jackfield_contrib.grpc.functions_pb2 import Call
from jackfield_contrib.http.problems import Refused


class Calling:
    """Calls functions of a host for clients.

    Args:
        host: whose.
        bounds: of what they send.
    """

    def __init__(self, host: Host, bounds: Bounds) -> None:
        self._acall = host.acall
        self._headers, self._largest = bounds.metadata, bounds.message

    async def result(self, call: Call, asker: Asker, left: float | None = None) -> bytes:
        """Call a function.

        Args:
            call: what came.
            asker: who asks, and with what.
            left: seconds that remain for its RPC, or None.

        Returns:
            The result, in the encoding of the call.

        Raises:
            Refused: when it never became a call.
            JackfieldError: as the call has ended.
        """
        name, encoding = call.function, call.encoding
        payload = bodies.read(call.payload, encoding)
        headers = asker.headers
        if call.version or call.headers:
            headers = asker.headers_of(call, self._headers)
        timeout = time_of(call)
        if left is not None and (timeout is None or left < timeout):
            timeout = min(left, LONGEST)
        result = await self._acall(name, payload, timeout, asker.tenant, None, headers)
        written = bodies.write(result, encoding, name)
        if len(written) > self._largest:
            raise ResourceExhausted(name, f"its result has more than the {self._largest:,} bytes of a message")
        return written

    async def reply(self, call: Call, asker: Asker, left: float | None = None) -> tuple[bytes, Status | None]:
        """Call a function, and give its result or how it has failed; but for a cancellation this never raises.

        Arguments as for `result`.
        """
        try:
            return await self.result(call, asker, left), None
        except (JackfieldError, Refused) as error:
            return b"", statuses.of(error)


def time_of(call: Call) -> float | None:
    """Give the seconds that a call says it may take, or None.

    Raises:
        Refused: when they are no number, or more than the system can wait for.
    """
    seconds: float = call.timeout
    if not seconds and not call.HasField("timeout"):
        return None
    if not -LONGEST <= seconds <= LONGEST:
        raise Refused(400, f"a timeout is a number of seconds, of at most {LONGEST:,.0f}")
    return seconds
