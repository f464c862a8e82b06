"""A host that is used after a fork says so, instead of hanging."""

import os
import sys

import pytest

from jackfield import Host, Unavailable


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_host_refuses_calls_and_names_the_reason():
    """In the child every call and registration is refused; the parent goes on."""
    with Host(observers=()) as host:
        host.register("f", lambda: 1)
        pid = os.fork()
        if pid == 0:
            status = 0
            for attempt in (lambda: host.call("f"), lambda: host.call("g"), lambda: host.register("h", lambda: 1)):
                try:
                    attempt()
                    status = 1
                except Unavailable as error:
                    status |= 0 if "fork" in str(error) else 2
                except BaseException:  # noqa: BLE001  # the child must not run the parent's tests
                    status = 3
            os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, sys.exc_info()
        assert host.call("f") == 1
