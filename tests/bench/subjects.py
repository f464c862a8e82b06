"""The payload and the function that the benches call: hardly any work, so that the way to it is what is measured."""

import msgspec


class Item(msgspec.Struct, frozen=True):
    """A small typed payload."""

    name: str
    count: int


def echo(item: Item) -> int:
    """Give the count back."""
    return item.count


ITEM = Item("bench", 42)
