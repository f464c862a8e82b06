"""Desired state: what the last applied file says, then what operators changed later; and how a host gets there.

The parts: `plan` (what a plan is, as values), `ownership` (who wrote which field last), `state` (what is desired and
what is there), `fields` (what differs between two values, never showing one that may be a secret), `planning` (pure:
desired and actual state and a new file → a plan), `rollouts` (which new versions are tried first), `applying`
(carries a plan out, step by step), `hosted` (those steps on a host).
"""

from jackfield.desired.plan import Change, Conflict, Drift, FieldChange, Plan

__all__ = ["Change", "Conflict", "Drift", "FieldChange", "Plan"]
