"""The pytest plugin: fixtures for the tests of plugins."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from jackfield import Host


@pytest.fixture
def jackfield_host() -> "Iterator[Host]":
    """A started host with nothing discovered and no observers; it is stopped after the test."""
    from jackfield import Host  # noqa: PLC0415  # pytest loads this module in every run of every project

    with Host(observers=()) as host:
        yield host


@pytest.fixture
def jackfield_leaks() -> Iterator[None]:
    """Fail the test if it leaves threads behind. Ask for it before `jackfield_host`."""
    from jackfield.testing.leaks import no_leaks  # noqa: PLC0415  # as above

    with no_leaks():
        yield
