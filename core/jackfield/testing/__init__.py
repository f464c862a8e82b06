"""For the tests of plugins: a host with nothing discovered, contract assertions, a leak check, a recording observer.

Installed with jackfield as a pytest plugin; its fixtures are `jackfield_host` and `jackfield_leaks`.
"""

from jackfield.testing.contracts import assert_contract
from jackfield.testing.leaks import LeakError, no_leaks
from jackfield.testing.recorder import Recorder, Seen

__all__ = ["LeakError", "Recorder", "Seen", "assert_contract", "no_leaks"]
