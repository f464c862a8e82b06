"""The releases on PyPI: a sample of async jackfield functions that ask a web service."""

from jackfield_sample_http.functions import Release, outdated, release

__all__ = ["Release", "outdated", "release"]
