"""Results of submitted calls, POSTed to where the configuration says."""

from jackfield_contrib.delivering.sending import HttpSender

__all__ = ["HttpSender"]
