"""Frozen values that flow through a host; no I/O."""
