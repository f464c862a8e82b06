"""A host, doors to it, and clients."""

import gc

import grpc
import pytest
from support_grpc import FUNCTIONS, LIMIT, Talk, Waits, target

from jackfield import Host
from jackfield.config import GrpcDoorConfig
from jackfield.testing import no_leaks
from jackfield_contrib.grpc.door import GrpcDoor
from jackfield_contrib.grpc.functions_pb2_grpc import FunctionsStub


@pytest.fixture
def host():
    with no_leaks(), Host(observers=()) as made:
        for name, function in FUNCTIONS.items():
            made.register(name, function)
        yield made
        gc.collect()  # grpcio's `abort` leaves cycles, and a thread as long as they live


@pytest.fixture
def waits(host):
    """Have `waits` registered."""
    made = Waits()
    host.register("waits", made.wait)
    return made


@pytest.fixture
def opened(host):
    """Open a door with some settings."""
    doors = []

    def open_door(settings=None, **further):
        whose = further.pop("host", host)
        door = GrpcDoor(whose, GrpcDoorConfig(**{"port": 0, **(settings or {})}), **further)
        whose.run_at_home(door.open(), LIMIT)
        doors.append((whose, door))
        return door

    yield open_door
    for whose, door in doors:
        if whose.running:
            whose.run_at_home(door.close(0.0), LIMIT)


@pytest.fixture
def connect():
    """Connect with a door."""
    channels = []

    def made(door, options=()):
        channels.append(grpc.insecure_channel(target(door), options))
        return channels[-1]

    yield made
    for channel in channels:
        channel.close()


@pytest.fixture
def channel(opened, connect):
    """Be connected with a door of no settings."""
    return connect(opened())


@pytest.fixture
def stub(channel):
    """Call through a door of no settings."""
    return FunctionsStub(channel)


@pytest.fixture
def talk(opened, connect):
    """Begin a session, of a door of no settings unless one is given."""
    begun = []

    def made(door=None, **keywords):
        begun.append(Talk(FunctionsStub(connect(door or opened())), **keywords))
        return begun[-1]

    yield made
    for each in begun:
        each.leave()


@pytest.fixture
def talking(talk):
    """Have a session."""
    return talk()
