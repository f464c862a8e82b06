"""What a service tells systemd, and others that speak its protocol: a datagram of lines to the socket they name."""

import asyncio
import os
import socket
from contextlib import suppress
from time import monotonic_ns
from typing import Final

_MICRO: Final = 1_000_000


class Notifier:
    """Tells the service manager how this process gets on; without one, it tells nobody.

    It reads `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID` when it is made, and leaves them as they are.

    Attributes:
        watchdog: seconds within which the manager wants to hear again and again, or None.
    """

    def __init__(self) -> None:
        address = os.environ.get("NOTIFY_SOCKET", "")
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        beat = os.environ.get("WATCHDOG_USEC", "")
        whose = os.environ.get("WATCHDOG_PID", "")
        ours = self._address and beat.isdecimal() and whose in ("", str(os.getpid()))
        self.watchdog = int(beat) / _MICRO if ours and int(beat) else None

    def tell(self, *lines: str) -> None:
        """Send lines such as `READY=1` or `STATUS=…`; a manager that does not listen keeps nobody waiting."""
        if not self._address or not hasattr(socket, "AF_UNIX"):
            return
        text = "\n".join(line.replace("\n", " ") for line in lines)
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.settimeout(0)
            manager.sendto(text.encode(errors="replace"), self._address)

    def reloading(self, status: str) -> None:
        """Say that the configuration is being read again; `READY=1` says that this is over."""
        self.tell("RELOADING=1", f"MONOTONIC_USEC={monotonic_ns() // 1_000}", f"STATUS={status}")

    async def beat(self) -> None:
        """Say twice within each interval that the loop on which this runs goes round; for ever."""
        while self.watchdog is not None:
            self.tell("WATCHDOG=1")
            await asyncio.sleep(self.watchdog / 2)
