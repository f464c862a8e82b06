"""Calls over gRPC: a real server of grpc.aio on a real socket, and real clients."""

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from jackfield import Host
from jackfield.config import GrpcDoorConfig
from jackfield.testing import no_leaks
from jackfield_contrib.grpc.door import GrpcDoor
from jackfield_contrib.grpc.functions_pb2 import Call
from jackfield_contrib.grpc.functions_pb2_grpc import FunctionsStub


def add(a: int, b: int) -> int:
    return a + b


@pytest.fixture
def host():
    with no_leaks(), Host(observers=()) as made:
        made.register("math.add", add)
        yield made


@pytest.fixture
def opened(host):
    """Open a door with some settings."""
    doors = []

    def open_door(settings=None, **further):
        door = GrpcDoor(host, GrpcDoorConfig(**{"port": 0, **(settings or {})}), **further)
        host.run_at_home(door.open(), 20.0)
        doors.append(door)
        return door

    yield open_door
    for door in doors:
        host.run_at_home(door.close(0.0), 20.0)


@pytest.fixture
def stub(opened):
    with grpc.insecure_channel(opened().address.removeprefix("grpc://")) as channel:
        yield FunctionsStub(channel)


def test_a_call_is_answered(stub):
    """In the encoding that it came in."""
    reply = stub.Invoke(Call(id=7, function="math.add", payload=b'{"a": 1, "b": 2}'), timeout=20)
    assert (reply.id, reply.result) == (7, b"3")


def test_health_is_the_hosts(opened):
    """Of the whole server and of the service."""
    with grpc.insecure_channel(opened().address.removeprefix("grpc://")) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for service in ("", "jackfield.v1.Functions"):
            answer = health.Check(health_pb2.HealthCheckRequest(service=service), timeout=20)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
