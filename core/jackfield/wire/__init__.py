"""What travels between processes: frames, values, errors as data."""
