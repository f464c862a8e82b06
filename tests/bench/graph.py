"""Three objects that a function needs, and each container's way to hand them over."""

from collections.abc import Callable
from typing import Any

import wireup
from dishka import FromDishka, Provider, Scope, make_container
from dishka.integrations.base import wrap_injection
from subjects import Item
from wireup import Injected, injectable

Body = Callable[[Item], int]


class Settings:
    """Needs nothing."""

    __slots__ = ("url",)

    def __init__(self) -> None:
        self.url = "db://bench"


class Engine:
    """Needs the settings."""

    __slots__ = ("settings",)

    def __init__(self, settings: Settings) -> None:
        self.settings = settings


class Session:
    """Needs the engine; the one that a request has of its own."""

    __slots__ = ("engine",)

    def __init__(self, engine: Engine) -> None:
        self.engine = engine


CLASSES = (Settings, Engine, Session)
LAST_ONLY = (False, False, True)
ALL = (True, True, True)


def target(item: Item, *, settings: Settings, engine: Engine, session: Session) -> int:
    """Take all three."""
    return item.count


def by_hand() -> Body:
    """Write the three constructor calls."""

    def body(item: Item) -> int:
        settings = Settings()
        engine = Engine(settings)
        return target(item, settings=settings, engine=engine, session=Session(engine))

    return body


def by_hand_keeping_singletons() -> Body:
    """Write the one constructor call that a request needs, the others done once."""
    settings = Settings()
    engine = Engine(settings)

    def body(item: Item) -> int:
        return target(item, settings=settings, engine=engine, session=Session(engine))

    return body


def wireup_bodies(per_request: tuple[bool, ...]) -> dict[str, Body]:
    """Use wireup as documented: its generated wrapper, and a scope entered by hand."""
    container: Any = wireup.create_sync_container(
        injectables=[
            injectable(lifetime="scoped" if own else "singleton")(cls)
            for cls, own in zip(CLASSES, per_request, strict=True)
        ]
    )

    @wireup.inject_from_container(container)
    def decorated(
        item: Item, settings: Injected[Settings], engine: Injected[Engine], session: Injected[Session]
    ) -> int:
        return item.count

    def entered(item: Item) -> int:
        with container.enter_scope() as scope:
            return target(item, settings=scope.get(Settings), engine=scope.get(Engine), session=scope.get(Session))

    return {"decorator": decorated, "scope": entered}


def dishka_bodies(per_request: tuple[bool, ...]) -> dict[str, Body]:
    """Use dishka as documented: its generated wrapper, and a scope entered by hand; without locks, its fastest."""
    provider = Provider()
    for cls, own in zip(CLASSES, per_request, strict=True):
        provider.provide(cls, scope=Scope.REQUEST if own else Scope.APP)
    container = make_container(provider, lock_factory=None)

    def plain(
        item: Item, settings: FromDishka[Settings], engine: FromDishka[Engine], session: FromDishka[Session]
    ) -> int:
        return item.count

    decorated: Any = wrap_injection(
        func=plain, container_getter=lambda _args, _kwargs: container, manage_scope=True, is_async=False
    )

    def entered(item: Item) -> int:
        with container() as scope:
            return target(item, settings=scope.get(Settings), engine=scope.get(Engine), session=scope.get(Session))

    return {"decorator": decorated, "scope": entered}
