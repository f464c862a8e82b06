"""One call, whichever RPC has brought it: from its message to its reply."""

import math

from google.rpc.status_pb2 import Status

from jackfield import Host
from jackfield.errors import JackfieldError
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
        self._acall, self._most = host.acall, bounds.metadata
        self._largest = bounds.message

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
            TypeError: when the result has no form.
        """
        encoding = call.encoding
        payload = bodies.read(call.payload, encoding)
        headers = asker.headers
        if call.version or call.headers:
            # By header: only there it is seen whether the tenant may pick one.
            own = {**call.headers, "x-version": call.version} if call.version else call.headers
            headers = asker.headers_of(own, self._most)
        timeout = call.timeout or (0.0 if call.HasField("timeout") else None)
        if timeout is not None and not math.isfinite(timeout):
            raise Refused(400, "a timeout is a number of seconds")
        if left is not None and (timeout is None or left < timeout):
            timeout = left
        result = await self._acall(call.function, payload, timeout, asker.tenant, None, headers)
        return bodies.write(result, encoding)

    async def reply(self, call: Call, asker: Asker, left: float | None = None) -> tuple[bytes, Status | None]:
        """Call a function, and give its result or how it has failed; but for a cancellation this never raises.

        Arguments as for `result`.
        """
        try:
            written = await self.result(call, asker, left)
        except JackfieldError as error:
            return b"", statuses.of_error(error)
        except Refused as refused:
            return b"", statuses.of_request(refused)
        except TypeError:  # of `write`: a result that has no form; the call's own errors are all of one tree
            return b"", statuses.formless(call.function)
        except ValueError as error:  # a timeout beyond what the system can wait for
            return b"", statuses.of_request(Refused(400, str(error)))
        if len(written) > self._largest:
            return b"", statuses.too_large(call.function, self._largest)
        return written, None
