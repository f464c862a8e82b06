"""What the tests of adapters share."""

import tempfile
from pathlib import Path

import pytest


@pytest.fixture
def socket_path():
    """Where a Unix socket may lie: its path has to be short."""
    with tempfile.TemporaryDirectory(prefix="jf-") as folder:
        yield Path(folder) / "s"
