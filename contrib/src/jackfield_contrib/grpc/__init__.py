"""Calls over gRPC: the functions of a host as the service `jackfield.v1.Functions`."""

import os
from typing import TYPE_CHECKING

from jackfield.lazy import imported_from

if TYPE_CHECKING:
    from jackfield_contrib.grpc.bounds import Bounds
    from jackfield_contrib.grpc.service import Functions

__all__ = ["Bounds", "Functions"]

# Before grpcio is imported: what it does at a fork crashes, now and then, the child of a process that uses it on an
# event loop. Without that such a child lives, but cannot use gRPC.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")

# At first use: a client needs the messages of this package, and none of the service.
__getattr__ = imported_from(
    {"Bounds": "jackfield_contrib.grpc.bounds", "Functions": "jackfield_contrib.grpc.service"}, __name__
)
