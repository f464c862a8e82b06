"""Confinement of processes that run other people's code: tiers behind one port, probed with a real guest, and limits.

A guest imports `jackfield.sandbox.enter` and, through it, `port`, `kernel` and `landlock` alone: the standard library,
attrs and msgspec. Whatever else is in here runs in the host.
"""
