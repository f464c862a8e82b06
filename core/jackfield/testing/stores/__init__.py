"""What every store must do: the suite of tests that an adapter of `ports.Store` passes.

It needs pytest and hypothesis, which nothing else of jackfield asks for: `jackfield.testing` does not import it.
"""

from jackfield.testing.stores.leasing import Leasing
from jackfield.testing.stores.reading import Reading
from jackfield.testing.stores.together import Together
from jackfield.testing.stores.watching import Watching


class StoreConformance(Reading, Watching, Leasing, Together):
    """The suite; a subclass named `Test…` says how to open a store, and pytest runs it.

    Attributes:
        ttl: seconds; the shortest lease that the store can keep.
        kept: a number of small writes after which the store does not keep the first one for a watch; None if that
            cannot be told, which leaves those tests out.
        patience: seconds after which a test that waits has failed.

    Examples:
        >>> from jackfield.store import MemoryStore
        >>> from jackfield.testing import FakeClock
        >>> class TestMemoryStore(StoreConformance):
        ...     async def open_store(self):
        ...         self.clock = FakeClock()
        ...         return MemoryStore(self.clock)
        ...
        ...     async def pass_time(self, seconds):
        ...         self.clock.advance(seconds)
        >>> TestMemoryStore().test_what_is_put_is_got_and_what_is_deleted_is_gone()
    """


__all__ = ["StoreConformance"]
