"""What a host runs on: its loops, its threads, its clock."""
