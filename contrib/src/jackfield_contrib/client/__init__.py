"""Calls of the functions of a host elsewhere, as if it were here: `Client`, and `AsyncClient` for event loops."""

from jackfield_contrib.client.asynchronous import AsyncClient
from jackfield_contrib.client.client import Client
from jackfield_contrib.client.submissions import AsyncRemoteSubmission, RemoteSubmission

__all__ = ["AsyncClient", "AsyncRemoteSubmission", "Client", "RemoteSubmission"]
