"""What an application offers to all of its plugins: a sample of a package that only provides dependencies."""

import os

from dogpile.cache import CacheRegion, make_region

from jackfield import Logger, provides

FRESH = 300.0  # seconds, for values whose author names no other time


@provides
def cache() -> CacheRegion:
    """Provide one cache for the whole host: in this process's memory, safe under threads.

    Of many callers that miss the same key at once one computes the value, and the others wait for it.

    Returns:
        The region, empty.
    """
    region: CacheRegion = make_region().configure("dogpile.cache.memory", expiration_time=FRESH)
    return region


@provides(name="app-logger")
def app_logger(log: Logger) -> Logger:
    """Provide the application's logger: its records say which environment they are from.

    Args:
        log: the logger that jackfield gives to every plugin; its records name the call that runs when they are written.

    Returns:
        The logger, with `environment` as `JACKFIELD_SAMPLE_ENVIRONMENT` names it.
    """
    return log.bind(environment=os.environ.get("JACKFIELD_SAMPLE_ENVIRONMENT", "development"))
