"""What is written for another process where memory is short."""

import subprocess
import sys

import pytest

CODE = """
import resource
from jackfield.wire.crossing import pack
resource.setrlimit(resource.RLIMIT_AS, (450 << 20, 450 << 20))
try:
    pack([bytes(200_000_000)])
except MemoryError:
    print("MemoryError")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="macOS and Windows do not hold RLIMIT_AS")
def test_a_value_without_room_is_an_error_and_no_crash():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "MemoryError"), done.stderr
