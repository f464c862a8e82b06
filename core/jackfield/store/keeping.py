"""Keeping a lease alive for as long as its holder lives."""

import asyncio
from collections.abc import Callable

from jackfield.errors import LeaseEnded, Unavailable
from jackfield.ports import Lease


async def keep_lease(lease: Lease, renewed: Callable[[float], object] | None = None) -> None:
    """Renew a lease every third of its time, until this is cancelled.

    A store that cannot be reached, or does not answer, is asked again while there is time. When there is none the lease
    counts as lost, whatever the store may still think: others do not see the renewals, either.

    Args:
        lease: which; its time is counted from now on.
        renewed: told of each renewal: the moment, on this loop's clock, up to which the lease cannot have ended.

    Raises:
        LeaseEnded: if it is over: what was put with it may be somebody else's by now.
    """
    loop = asyncio.get_running_loop()
    over, pause = loop.time() + lease.ttl, lease.ttl / 3
    while True:
        await asyncio.sleep(min(pause, over - loop.time()))
        begun = loop.time()
        try:
            async with asyncio.timeout(min(lease.ttl / 3, over - begun)):
                await lease.renew()
        except (Unavailable, TimeoutError) as error:
            if loop.time() >= over:
                raise LeaseEnded(lease.id, lease.ttl) from error
            pause = lease.ttl / 10
        else:
            # Its time began anew when the store heard of it, which was no earlier than this.
            over, pause = begun + lease.ttl, lease.ttl / 3
            if renewed is not None:
                renewed(over)
