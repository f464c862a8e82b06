"""The functions of a host: the current snapshot and every change of it.

The parts: `functions` (every change, in order), `change` (a transaction), `routes` (what decides where calls go) and
`trials` (canaries), all three pure; `workshop` (what is compiled for a change), `registry` (compare and swap), `news`
and `courier` (who is told of what, and when).
"""
