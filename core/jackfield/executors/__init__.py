"""Where functions run: in the caller's thread, in a thread of a bounded pool, on the host's home loop."""
