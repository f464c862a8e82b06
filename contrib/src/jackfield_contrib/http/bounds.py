"""What a stranger may send: how much, how deep in number, and how slowly."""

import attrs


@attrs.frozen
class Bounds:
    """The bounds of requests, and of the connections that they come over.

    Attributes:
        body: bytes of a request's body.
        receiving: bytes of bodies that are coming in at once; of larger ones that would be more the senders get a 503.
        headers: how many headers of a request go into its call.
        header: characters of each of them.
        head: seconds that a client may take to send the head of a request; an idle connection is none longer than that.
        patience: seconds that a client may take to send its body, and to read a part of what it is sent.
        heartbeat: seconds of silence after which a client that watches a call is told that it goes on.
        batch: calls of one batch.
        parallel: calls of one batch that are under way at once.
        connections: clients that a door has at once; for further ones idle ones have to go, or they get a 503.
    """

    body: int = 16 * 1024 * 1024
    receiving: int = 256 * 1024 * 1024
    headers: int = 100
    header: int = 8_192
    head: float = 10.0
    patience: float = 30.0
    heartbeat: float = 15.0
    batch: int = 1_000
    parallel: int = 100
    connections: int = 4_096
