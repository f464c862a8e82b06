"""Calls from several threads while something else happens."""

import threading
from contextlib import contextmanager


@contextmanager
def load(call, threads=3):
    """Call something from several threads meanwhile; give the results, and let no failure pass."""
    ended, results, failures = threading.Event(), [], []

    def work():
        while not ended.is_set():
            try:
                results.append(call())
            except Exception as error:  # noqa: BLE001  # told by the test
                failures.append(error)

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for each in workers:
        each.start()
    try:
        yield results
    finally:
        ended.set()
        for each in workers:
            each.join()
    assert failures == []
