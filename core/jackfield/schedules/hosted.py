"""The schedules of one host: what its configuration says, checked against its functions, followed while it runs."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from jackfield.config import Configuration, ScheduleConfig
from jackfield.contract import codec_of
from jackfield.errors import ConfigError, Fault, FunctionNotFound, PayloadError, Unavailable
from jackfield.log import host_log
from jackfield.model.names import close_names
from jackfield.model.permissions import Permissions
from jackfield.model.spec import FunctionSpec
from jackfield.runtime.control import ControlLoop
from jackfield.runtime.pool import Pool
from jackfield.schedules.ledger import Asking
from jackfield.schedules.record import ScheduleRecord
from jackfield.schedules.scheduler import Scheduler, Submit

_GRACE: Final = 5.0  # seconds that ending them may take
_STORE: Final = (
    'runs are submitted, and this host has no store that lasts: add [store] with url = "sqlite:jackfield.db", or'
    " Host(store=…)"
)


class Schedules:
    """Follows the schedules of a configuration from the start of a host to its stop.

    Args:
        submit: accepts a call for later; None where there is no store that lasts.
        ask: asks the store.
        describe: finds a function.
        loaded: gives the names of functions whose plugins may not run yet.
        permissions: gives what tenants may do now.
        running: whether the host runs.
        control: where schedules live.
        pool: where `submit` blocks.
    """

    def __init__(
        self,
        submit: Submit | None,
        ask: Asking,
        describe: Callable[[str], FunctionSpec],
        loaded: Callable[[], Iterable[str]],
        permissions: Callable[[], Permissions],
        running: Callable[[], bool],
        control: ControlLoop,
        pool: Pool,
    ) -> None:
        self._submit = submit
        self._ask = ask
        self._describe = describe
        self._loaded = loaded
        self._permissions = permissions
        self._running = running
        self._control = control
        self._pool = pool
        self._wanted: Mapping[str, ScheduleConfig] = {}
        self._scheduler: Scheduler | None = None
        self.faults: tuple[Fault, ...] = ()

    def adopt(self, configuration: Configuration) -> None:
        """Follow the schedules of a configuration from now on, or from the start of the host.

        What is wrong with one is in `faults`; it is followed nevertheless, since its function may come yet.

        Args:
            configuration: what has them.

        Raises:
            ConfigError: if there is no store that lasts.
        """
        wanted = configuration.schedules
        if wanted and self._submit is None:
            raise ConfigError(str(configuration.file), None, "schedule", _STORE)
        self._wanted = wanted
        self.faults = tuple(fault for schedule in wanted.values() for fault in self._faults(schedule))
        if self._scheduler is not None:
            self._control.run(self._scheduler.adopt(wanted.values()), _GRACE)
        elif self._running():
            self.start()

    def start(self) -> None:
        """Follow them: the host runs."""
        if self._scheduler is None and self._wanted and self._submit is not None:
            # A new one for each start: the control loop is a new one, too.
            self._scheduler = Scheduler(self._submit, self._ask, self._control.clock, self._pool)
            self._control.run(self._scheduler.adopt(self._wanted.values()), _GRACE)

    def stop(self) -> None:
        """Plan no further runs: the host stops."""
        scheduler, self._scheduler = self._scheduler, None
        if scheduler is not None:
            try:
                self._control.run(scheduler.close(), _GRACE)
            except TimeoutError:  # the control loop ends soon, and they with it
                host_log("WARNING", f"the schedules have not ended within {_GRACE:g} s")

    @property
    def records(self) -> Mapping[str, ScheduleRecord]:
        """What there is to see of each; nothing while the host does not run."""
        return {} if self._scheduler is None else self._scheduler.records

    def _faults(self, schedule: ScheduleConfig) -> Iterator[Fault]:
        entry = f"schedule {schedule.name}"
        denial = self._permissions().denial(schedule.function, schedule.tenant, False)  # noqa: FBT003  # picks no version
        if schedule.tenant is not None and denial:
            yield Fault("schedule", "", entry, denial, "allow it under [tenants], or name another tenant")
        try:
            spec = self._describe(schedule.function)
        except FunctionNotFound as error:
            close = error.close or close_names(schedule.function, self._loaded())
            fix = f"did you mean {' or '.join(map(repr, close))}?" if close else "declare its plugin"
            yield Fault("schedule", "", entry, f"there is no function {schedule.function!r}", fix)
            return
        except Unavailable:  # of a plugin that does not run yet
            return
        try:
            codec_of(spec).convert(schedule.payload)
        except PayloadError as error:
            reason = f"its payload at {error.path}: expected {error.expected}, got {error.got}"
            yield Fault("schedule", spec.plugin, entry, reason, f"`pluginctl info {spec.name} --contract` shows it")
