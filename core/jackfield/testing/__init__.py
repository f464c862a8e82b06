"""For the tests of plugins: an empty host, assertions, a leak check, a recording observer, a clock.

Installed with jackfield as a pytest plugin; its fixtures are `jackfield_host` and `jackfield_leaks`.
"""

from jackfield.testing.clock import FakeClock
from jackfield.testing.conformance import Conformance, assert_conforms
from jackfield.testing.contracts import assert_contract
from jackfield.testing.leaks import LeakError, no_leaks
from jackfield.testing.recorder import Recorder, Seen

__all__ = [
    "Conformance",
    "FakeClock",
    "LeakError",
    "Recorder",
    "Seen",
    "assert_conforms",
    "assert_contract",
    "no_leaks",
]
