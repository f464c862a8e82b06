"""The functions of a host: the current snapshot and every change of it."""
