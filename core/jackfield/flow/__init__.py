"""Flows: functions that call one another's results, and are functions themselves.

The parts: `program` (a `model.flow.Flow`, compiled), `running` (one run), `values` (what passes between steps),
`group` (tasks that end together), `watching` (what becomes of each step), `shown` and `drawing` (for people),
`journal` (where a durable run keeps its completed steps), `contracts` (what is given against what is taken), `service`
(the flows of a host).
"""

from typing import TYPE_CHECKING, Final

from jackfield.lazy import imported_from

if TYPE_CHECKING:
    from jackfield.flow.journal import NOTHING, Journal, current_journal
    from jackfield.flow.service import Flows, flow_of

_HOMES: Final = {
    "Flows": "jackfield.flow.service",
    "Journal": "jackfield.flow.journal",
    "NOTHING": "jackfield.flow.journal",
    "current_journal": "jackfield.flow.journal",
    "flow_of": "jackfield.flow.service",
}

__all__ = ["NOTHING", "Flows", "Journal", "current_journal", "flow_of"]

__getattr__ = imported_from(_HOMES, __name__)  # a host without flows does not need them
