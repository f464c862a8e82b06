"""What a door tells those who look at a host: connections, and requests."""

import httpx

from jackfield import Host
from jackfield.config import HttpDoorConfig
from jackfield_contrib.http.door import HttpDoor


def test_a_door_tells_what_goes_on():
    """While it is open; before and after that, nothing does."""
    with Host(observers=()) as host:
        host.register("one", lambda: 1)
        door = HttpDoor(host, HttpDoorConfig(port=0))
        nothing = {"connections": 0, "under_way": 0, "requests": 0}
        assert door.stats() == nothing
        host.run_at_home(door.open(), 20.0)
        with httpx.Client(base_url=door.address) as client:
            for _ in range(3):
                assert client.post("/v1/functions/one").json() == 1
            told = door.stats()
            assert (told["connections"], told["requests"]) == (1, 3)
        host.run_at_home(door.close(1.0), 20.0)
        assert door.stats() == nothing
