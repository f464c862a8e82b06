"""The life of plugins: their states, their order, their background work, and giving back what they hold.

The parts: `states` (the table of transitions), `plugin` (definition and record), `order` (who depends on whom), `board`
(where states stand), `runner` (one start or stop), `walk` and `planner` (many, in order), `restarts` and `supervision`
(what happens by itself), `instance` (a plugin object's optional methods), `handover` (its state), `work` and
`background` (its threads, tasks and repetitions), `ledger` (what it holds), `hands` and `timetable` (threads and
timers), `service` (the verbs).
"""

from jackfield.model.record import Health, PluginRecord, PluginState, RestartPolicy
from jackfield.plugins.lifecycle.background import Background, Schedule
from jackfield.plugins.lifecycle.handover import give_state, take_state
from jackfield.plugins.lifecycle.instance import Instance
from jackfield.plugins.lifecycle.ledger import Entry, Ledger, Survivor, UnloadReport
from jackfield.plugins.lifecycle.order import dependency_faults
from jackfield.plugins.lifecycle.plugin import PluginDefinition
from jackfield.plugins.lifecycle.service import Lifecycle
from jackfield.plugins.lifecycle.states import TRANSITIONS
from jackfield.plugins.lifecycle.swap import SwapReport
from jackfield.plugins.lifecycle.timetable import Timetable
from jackfield.plugins.lifecycle.work import Work

__all__ = [
    "TRANSITIONS",
    "Background",
    "Entry",
    "Health",
    "Instance",
    "Ledger",
    "Lifecycle",
    "PluginDefinition",
    "PluginRecord",
    "PluginState",
    "RestartPolicy",
    "Schedule",
    "Survivor",
    "SwapReport",
    "Timetable",
    "UnloadReport",
    "Work",
    "dependency_faults",
    "give_state",
    "take_state",
]
