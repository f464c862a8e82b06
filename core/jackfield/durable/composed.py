"""The submitted calls of a host, put together of its parts."""

from collections.abc import Callable, Sequence
from typing import Any

from jackfield.config.model import DurableConfig
from jackfield.durable.calling import DurableCaller
from jackfield.durable.hosted import Durability, Submissions, Watch
from jackfield.durable.telling import Telling
from jackfield.durable.untraced import Untraced
from jackfield.ports import Observer
from jackfield.runtime.home import HomeLoop
from jackfield.store.hosted import HostStore


def compose(
    kept: HostStore,
    home: HomeLoop,
    calling: tuple[Any, Any, Any, Any],
    running: Callable[[], bool],
    config: DurableConfig | None,
    observers: Sequence[Observer],
) -> Submissions:
    """Make what a host has of submitted calls.

    Args:
        kept: the host's store.
        home: where attempts run.
        calling: what a `Caller` is made of.
        running: whether the host runs.
        config: what the configuration says.
        observers: of calls; submitted ones are traced where these trace.
    """
    registry = calling[0]
    durability = Durability() if config is None else Durability(config.concurrency, config.attempts, config.keep)
    return Submissions(
        kept.present,
        kept.lasts,
        kept.loop,
        home,
        DurableCaller(*calling),
        running,
        lambda name: name in registry.snapshot.routes,
        durability,
        _tracing(observers),
        Telling(kept.loop.clock.wall),
        _watching(observers),
    )


def _tracing(observers: Sequence[Observer]) -> Untraced:
    if observers:
        from jackfield.observe.spans import Spans  # noqa: PLC0415  # it imports OpenTelemetry

        for observer in observers:
            if isinstance(observer, Spans):
                from jackfield.durable.tracing import Tracing  # noqa: PLC0415  # as above

                return Tracing(observer.provider)
    return Untraced()


def _watching(observers: Sequence[Observer]) -> list[Watch]:
    if not observers:
        return []
    from jackfield.observe.metrics import Metrics  # noqa: PLC0415  # it imports the Prometheus client

    return [observer.watch_submissions for observer in observers if isinstance(observer, Metrics)]
