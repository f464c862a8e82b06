"""Plugins: found, loaded, started, stopped, replaced, unloaded."""
