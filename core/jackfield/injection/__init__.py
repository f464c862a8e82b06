"""Dependency injection: marks, providers, the graph and its faults, generated bodies, and scopes."""
