"""What the home loop is made by."""

import asyncio

import pytest

from jackfield import Host


@pytest.fixture
def made():
    """The loops that were made, the newest last."""
    return []


@pytest.fixture
def host(made):
    """A host that is told how to make its loop, and tells which one its functions run on."""

    def factory():
        made.append(asyncio.new_event_loop())
        return made[-1]

    async def is_there() -> bool:
        return asyncio.get_running_loop() in made

    host = Host(observers=())
    host.use_loop(factory)
    host.register("is_there", is_there)
    return host


def test_a_loop_of_its_own_is_made_by_the_factory_each_time(host, made):
    """Once for each life of the host, when it is first needed."""
    for number in (1, 2):
        with host:
            assert len(made) == number - 1
            assert host.call("is_there")
            assert host.call("is_there")
        assert len(made) == number


def test_a_loop_that_is_adopted_stays(host, made):
    """Nobody asks the factory."""

    async def main():
        async with host:
            return await host.acall("is_there")

    assert not asyncio.run(main())
    assert not made
