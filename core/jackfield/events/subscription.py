"""What a subscriber holds in its hand."""

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from jackfield.events.mailbox import Mailbox, SubscriptionStats


class Subscription:
    """One handler's subscription; `EventBus.subscribe` makes it. As a context manager it ends with the block.

    Args:
        mailbox: its queue.
        remove: takes mailboxes off the bus.
    """

    def __init__(self, mailbox: Mailbox, remove: Callable[[Sequence[Mailbox]], None]) -> None:
        self._mailbox = mailbox
        self._remove = remove

    def cancel(self) -> None:
        """End the subscription: nothing more is handled, what waits is dropped, handler and queue are released.

        A handler that is at work may finish; it is not waited for. Cancelling again does nothing.
        """
        self._remove([self._mailbox])

    def stats(self) -> SubscriptionStats:
        """Give the counts of this moment."""
        with self._mailbox.lock:
            return self._mailbox.stats()

    @property
    def active(self) -> bool:
        """Whether it has not been cancelled."""
        return self._mailbox.handler is not None

    @property
    def delivered(self) -> int:
        """How many events the handler returned from."""
        return self.stats().delivered

    @property
    def failed(self) -> int:
        """How many events the handler raised for."""
        return self.stats().failed

    @property
    def dropped(self) -> int:
        """How many published events were lost to a full queue."""
        return self.stats().dropped

    @property
    def pending(self) -> int:
        """How many events wait in the queue."""
        return self.stats().pending

    @property
    def lagging(self) -> bool:
        """Whether somebody waited for it in vain, and it has not caught up yet."""
        return self.stats().lagging

    def __enter__(self) -> Self:
        """Give the subscription."""
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _stack: TracebackType | None
    ) -> None:
        """Cancel it."""
        self.cancel()
