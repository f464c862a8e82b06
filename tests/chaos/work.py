"""A plugin whose functions leave a mark of each run, where no kill can take it back."""

import os
import time
from typing import Final

from jackfield import Config, current_call, function, inject

_CREATE: Final = os.O_WRONLY | os.O_APPEND | os.O_CREAT


def mark(path: str, what: str, key: str) -> None:
    """Leave one line, in one system call: the moment, what has come about, and of which submission."""
    descriptor = os.open(path, _CREATE, 0o600)
    try:
        os.write(descriptor, f"{time.monotonic_ns()} {what} {key}\n".encode())
    finally:
        os.close(descriptor)


@function
def charge(key: str, seconds: float, *, config: Config = inject()) -> str:
    """Do what must not be done twice."""
    mark(config["marks"], "begun:charge", key)
    time.sleep(seconds)
    mark(config["marks"], "ended:charge", key)
    return key


@function(idempotent=True)
def fetch(key: str, seconds: float, fails: int, *, config: Config = inject()) -> str:
    """Do what may be done again, and fail at first."""
    mark(config["marks"], "begun:fetch", key)
    time.sleep(seconds)
    if current_call().attempt <= fails:
        raise OSError("not yet")
    mark(config["marks"], "ended:fetch", key)
    return key


@function(idempotent=True)
async def step(key: str, name: str, *, config: Config = inject()) -> str:
    """Be a step of a flow."""
    mark(config["marks"], f"begun:{name}", key)
    return key
