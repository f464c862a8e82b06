"""Calls over HTTP: the functions of a host as an ASGI application."""

from jackfield_contrib.http.app import asgi
from jackfield_contrib.http.bounds import Bounds

__all__ = ["Bounds", "asgi"]
