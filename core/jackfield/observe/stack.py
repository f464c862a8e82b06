"""The frames of errors, under their old address: see `jackfield.stack`."""

from jackfield.stack import error_message, error_type, frames

__all__ = ["error_message", "error_type", "frames"]
