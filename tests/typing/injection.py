"""The marks keep the types of what they mark."""

from collections.abc import Iterator
from typing import Annotated, Protocol, assert_type

from jackfield import Host, decorates, inject, provides


class Mailer(Protocol):
    def send(self) -> str: ...


@provides(as_=Mailer)
class Smtp:
    def send(self) -> str:
        return "sent"


@provides
def smtp() -> Smtp:
    return Smtp()


@decorates
def traced(mailer: Mailer) -> Mailer:
    return mailer


@decorates(scope="request")
def opened(mailer: Mailer) -> Iterator[Mailer]:
    yield mailer


@decorates(Mailer)
class Retrying:
    def __init__(self, mailer: Mailer, times: int = 3) -> None:
        self.times = times

    def send(self) -> str:
        return "sent"


def use(mailer: Annotated[Mailer, inject()], *, all_of_them: list[Mailer] = inject()) -> str:
    return mailer.send()


assert_type(smtp(), Smtp)
assert_type(traced(Smtp()), Mailer)
assert_type(opened(Smtp()), Iterator[Mailer])
assert_type(Retrying(Smtp()).times, int)
assert_type(use(Smtp(), all_of_them=[]), str)

host = Host(observers=())
host.provide(Smtp)
host.provide(Retrying)


def refused() -> None:
    decorates(3)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    provides(scope="session")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
