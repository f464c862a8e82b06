"""Calls that survive: submitted, kept in the store, and run by whichever host is there."""

from jackfield.durable.hosted import Durability, Submissions
from jackfield.durable.submission import Submission

__all__ = ["Durability", "Submission", "Submissions"]
