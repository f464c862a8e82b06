"""The `[doors]` of a file: where calls come in over a network."""

import attrs

from jackfield.config.leaves import Port, Processes, Text


@attrs.frozen
class HttpDoorConfig:
    """Calls over HTTP.

    Attributes:
        host: the address that is listened on; beyond loopback only once there are tenants.
        port: the port; 0 is any free one.
        uds: a Unix socket to listen on instead, relative to the file; who may use it, its folder and the umask say.
        tls_cert: the certificate with its chain, relative to the file; it is read again when it has changed, as are the
            other two.
        tls_key: its private key, relative to the file.
        client_ca: who signs the certificates by which clients may say who they are, relative to the file.
        processes: how many processes of `pluginctl serve` take the calls; several need a store that all can open.
    """

    host: Text = "127.0.0.1"
    port: Port = 8080
    uds: Text | None = None
    tls_cert: Text | None = None
    tls_key: Text | None = None
    client_ca: Text | None = None
    processes: Processes = 1


@attrs.frozen
class GrpcDoorConfig:
    """Calls over gRPC.

    Attributes:
        host: the address that is listened on; beyond loopback only once there are tenants.
        port: the port; 0 is any free one.
        tls_cert: the certificate with its chain, relative to the file.
        tls_key: its private key, relative to the file.
        client_ca: who signs the certificates of clients, relative to the file; others are not let in.
    """

    host: Text = "127.0.0.1"
    port: Port = 9090
    tls_cert: Text | None = None
    tls_key: Text | None = None
    client_ca: Text | None = None


@attrs.frozen
class DoorsConfig:
    """Where calls come in over a network.

    Attributes:
        http: over HTTP.
        grpc: over gRPC.
    """

    http: HttpDoorConfig | None = None
    grpc: GrpcDoorConfig | None = None
