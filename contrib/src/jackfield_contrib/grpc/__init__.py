"""Calls over gRPC: the functions of a host as the service `jackfield.v1.Functions`."""

import os

# Before grpcio is imported: what it does at a fork crashes, now and then, the child of a process that uses it on an
# event loop. Without that such a child lives, but cannot use gRPC.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")

from jackfield_contrib.grpc.bounds import Bounds  # as said
from jackfield_contrib.grpc.service import Functions  # as said

__all__ = ["Bounds", "Functions"]
