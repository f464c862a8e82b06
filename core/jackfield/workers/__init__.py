"""Plugins in child processes: `executor = "worker"` moves a plugin there, and its code and its callers do not change.

The parts, in the order in which a call meets them: `pool` (which worker; behind `executors.worker`), `worker` (one
process), `channel` and `messages` (what goes to and fro), and, on the other side, `inside`. Workers come from
`nursery`, which is the host's side of the processes of `zygote`. `origin` says where a plugin's code comes from and
what it may, `limits` holds what it uses, `source` makes a plugin's bundle of what a worker says of it, `workers` wires
them. See decision 0042.
"""
