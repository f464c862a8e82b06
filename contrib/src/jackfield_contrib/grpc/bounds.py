"""What a stranger may send: how much, how deep in number, and how often."""

import attrs


@attrs.frozen
class Bounds:
    """The bounds of a door and of one session.

    Attributes:
        message: bytes of a message, either way.
        metadata: bytes of an RPC's metadata, and of a call's headers.
        batch: calls of one message.
        parallel: calls of one batch that are under way at once.
        session: calls of one session that are under way, or wait for their reply to be written; while there are so many
            nothing more is read from it.
        patience: seconds that a client may take to read what is written to it, and to begin when it has connected.
        rpcs: RPCs that are under way at once, a session among them; further ones are refused.
        streams: of them, on one connection; further ones wait at the client.
        connections: clients that are connected at once; further ones are not let in.
        idle: seconds after which a connection is closed on which nothing is under way; clients open another one.
        ping: seconds between two pings: from here while a client is silent, and at least from a client.
    """

    message: int = 16 * 1024 * 1024
    metadata: int = 16 * 1024
    batch: int = 1_000
    parallel: int = 100
    session: int = 1_000
    patience: float = 30.0
    rpcs: int = 4_096
    streams: int = 1_000
    connections: int = 4_096
    idle: float = 300.0
    ping: float = 30.0
