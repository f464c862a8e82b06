"""What every test may rely on."""

import gc
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest
from hypothesis import HealthCheck, settings

from jackfield.plugins.code import purge_abandoned

# A machine under load is no fault of an example's: no wall-clock deadline, and no complaint that making data was slow.
settings.register_profile("jackfield", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("jackfield")

# A shell without job control starts background commands with SIGINT ignored, and children inherit that; tests that
# interrupt their children need the default.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def socket_path() -> Iterator[Path]:
    """Where a Unix socket may be: its path is short, `tmp_path` with the name of the test in it need not be."""
    with tempfile.TemporaryDirectory(prefix="jf") as folder:
        yield Path(folder) / "c.sock"


@pytest.fixture(autouse=True)
def _no_modules_of_earlier_hosts(request):
    """Let the hosts of earlier tests go, and their private modules with them, where those are counted."""
    end = monotonic() + 5.0  # idle threads of a host that was dropped hold on to it for up to two seconds
    while "test_sources" in request.node.nodeid and monotonic() < end:
        gc.collect()
        purge_abandoned()
        if not any(name.startswith("_jackfield_plugin_") for name in sys.modules):
            break
