"""Calls over gRPC: the functions of a host as the service `jackfield.v1.Functions`."""

from jackfield_contrib.grpc.bounds import Bounds
from jackfield_contrib.grpc.service import Functions

__all__ = ["Bounds", "Functions"]
