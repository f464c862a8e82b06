"""What runs in a worker: one plugin, with contract and injection, and stand-ins for what the host provides."""
