"""Functions that are submitted at planned times, once over all hosts of a store."""

from jackfield.schedules.record import ScheduleRecord
from jackfield.schedules.scheduler import Scheduler, Submit

__all__ = ["ScheduleRecord", "Scheduler", "Submit"]
