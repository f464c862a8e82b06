"""The life of `pluginctl serve`: one host, its control socket, its metrics, and its orderly end."""

import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from time import monotonic
from typing import Any, Final

import attrs

from jackfield.cli.consoles import consoles
from jackfield.cli.ending import leave
from jackfield.cli.notify import Notifier
from jackfield.cli.outlet import standard
from jackfield.cli.processes import Processes
from jackfield.cli.rereading import Rereading, read
from jackfield.cli.serving import LINES, beside, open_host, start_beside, told
from jackfield.cli.several import share_metrics, shared_door, with_processes
from jackfield.cli.signals import Signals
from jackfield.cli.together import together
from jackfield.config import Configuration
from jackfield.config.part import Part
from jackfield.control import ControlServer
from jackfield.control.address import control_path
from jackfield.errors import PluginError, Unavailable
from jackfield.executors.places import BUILT_IN
from jackfield.host import Host
from jackfield.log import host_log
from jackfield.model.record import PluginState
from jackfield.operations import verbs
from jackfield.operations.doors import Doors
from jackfield.operations.listener import ProbeServer
from jackfield.operations.probes import Probes
from jackfield.runtime.pool import Pool
from jackfield.text import printable

_REPLIES: Final = 1.0  # seconds that the last replies have to leave


class Service:
    """One host that serves until it is told to end.

    The main thread makes the host, since some modules can only be imported there, and then keeps the signals; another
    thread starts the host, waits, and stops it. Nothing that plugins do to the main thread is in its way.

    Args:
        config: the configuration file.
        control: where to listen for verbs, or None for the usual place.
        metrics_port: of `/metrics`; None for what the file says, else any free one.
        drain: seconds that calls have to finish, and plugins to stop.
        watch: whether to apply the file whenever it changes.
        processes: how many processes serve the HTTP door; None for what the file says.
    """

    def __init__(
        self,
        config: Path,
        control: Path | None,
        metrics_port: int | None,
        drain: float,
        *,
        watch: bool = False,
        processes: int | None = None,
    ) -> None:
        self._named = config
        self._file = config.absolute()  # plugins may change the working directory
        self._control_path = control and control.absolute()
        self._metrics_port = metrics_port
        self._drain = drain
        self._about: dict[str, Any] = {"config": str(self._file), "pid": os.getpid(), "started": time.time()}
        self._manager = Notifier()
        self._threads = Pool()
        self._watch = watch
        self._wanted = processes
        self._processes: Processes | None = None
        self._rereading: Rereading | None = None
        self._outlet = standard(2)
        self._logged = False
        self._doors: Doors | None = None
        self._opened = threading.Event()
        self._asked = threading.Event()
        self._by = ""
        self._reading = threading.Lock()
        self._starter: threading.Thread | None = None

    def run(self) -> int:
        """Serve until SIGTERM or SIGINT, then end in order.

        Returns:
            The exit code: 0 when every call could finish; 1 when some could not, or it could not begin, which is told.
        """
        return told(self._run, self._outlet, lambda: self._logged)

    def reread(self) -> None:
        """Apply the file again; SIGHUP leads here. Before the host runs and while it stops nothing is done."""
        rereading = self._rereading
        if rereading is None or self._asked.is_set():
            return
        with self._reading:
            self._manager.reloading("reading the configuration again")
            rereading.apply("SIGHUP: ")
            self._manager.tell("READY=1", f"STATUS={self._about['state']}")

    def _run(self) -> int:
        with ExitStack() as stack:
            signals = stack.enter_context(Signals(self._act))
            found, self._seen = read(self._file, BUILT_IN)
            configuration = with_processes(found, self._wanted)
            host = self._open_host(configuration, stack)
            self._opened.set()
            signals.claim()  # plugins were imported in this thread
            server = ControlServer(self._control_path, self._verbs(host), loop=host.control, pool=self._threads).start()
            stack.callback(server.close, _REPLIES)
            self._about |= {"state": "starting", "control": str(server.path)}
            return beside(signals, lambda: self._serve(configuration, host))

    def _serve(self, configuration: Configuration, host: Host) -> int:
        try:
            self._starter = start_beside(host, self._asked)
            if not self._asked.is_set():
                self._refuse_if_strict(configuration, host)
                if self._processes is not None:
                    self._processes.start(self._asked)
            if not self._asked.is_set():
                self._about["state"] = "running"
                ready = self._ready(host)
                self._reread_from_now(host)  # before anybody reads that it serves, and sends a SIGHUP
                self._say(ready)
                self._manager.tell("READY=1", f"STATUS={ready}")
                host.control.submit(self._manager.beat())
                self._asked.wait()
        finally:
            left = self._stop(host)
        return 1 if left else 0

    def _reread_from_now(self, host: Host) -> None:
        """Let SIGHUP, and if asked for the file itself, lead to an apply."""
        self._rereading = Rereading(host, self._file, self._seen, self._tell)
        if self._watch:
            self._rereading.watch(host.control, self._threads)

    def _act(self, number: signal.Signals) -> None:
        """Do what a signal asks for: the first one ends it in order, the second at once."""
        if number.name == "SIGHUP":
            if self._opened.is_set() and not self._asked.is_set():
                self._threads.start("pluginctl-reread", self.reread)
        elif self._asked.is_set():
            if self._processes is not None:
                self._processes.abandon()
            os._exit(128 + number)  # whoever asks twice does not want to wait
        else:
            self._by = number.name
            self._asked.set()
            if not self._opened.is_set():  # the main thread imports plugins, and may do so for long; nothing runs yet
                self._say(f"{self._by}: ended before anything was started")
                self._outlet.close(LINES)
                leave(0)

    def _open_host(self, configuration: Configuration, stack: ExitStack) -> Host:
        seen = configuration.observability
        self._logged = seen.logs is None or seen.logs.messages
        door = shared_door(configuration)
        part = None if door is None else Part(0, door.processes)
        folder = "" if door is None else share_metrics(stack)  # before there are any metrics
        host, metrics = open_host(self._file, seen, self._outlet, stack, part)
        if door is not None:
            control = control_path(self._control_path)
            self._processes = Processes(host, door, control, self._drain, self._threads, folder)
            stack.callback(self._processes.close)
            metrics.watch_processes(self._processes.counts)
        self._open_doors(configuration, host)
        asked = seen.metrics.port if self._metrics_port is None and seen.metrics else self._metrics_port
        http = self._about.get("doors", {}).get("http")
        if asked is None and http is not None:
            self._about["metrics"] = f"{http}/metrics"
        else:
            self._about["metrics"] = self._expose_metrics(host, asked or 0, stack)
        return host

    def _open_doors(self, configuration: Configuration, host: Host) -> None:
        """Open the doors before anything starts: they say that the host is not ready, and refuse calls."""
        doors, addresses = configuration.doors, {}
        if self._processes is not None:
            doors, addresses = attrs.evolve(doors, http=None), {"http": self._processes.address}
        self._doors = Doors(host, doors, Probes(host, control=host.control, unready=self._unready))
        self._doors.open()
        if addresses := {**addresses, **self._doors.addresses}:
            self._about["doors"] = addresses

    def _unready(self) -> str:
        return "" if self._processes is None else self._processes.unready()

    def _verbs(self, host: Host) -> Mapping[str, Callable[[Mapping[str, Any]], Any]]:
        own = {**verbs(host, self._told_of_process), **consoles(host)}
        return own if self._processes is None else together(own, self._processes)

    def _told_of_process(self) -> Mapping[str, Any]:
        traffic = {} if self._doors is None else self._doors.traffic
        about = {**self._about, "seconds": round(time.time() - self._about["started"], 3)}
        return {**about, "traffic": traffic} if traffic else about

    def _refuse_if_strict(self, configuration: Configuration, host: Host) -> None:
        wanted = [record for record in host.plugins.values() if record.auto_start]
        faults = tuple(record.fault for record in wanted if record.fault is not None)
        if configuration.strict and faults:
            first = faults[0]
            raise PluginError(first.plugin or first.entry, first.stage, first.reason, first.fix, faults)

    def _ready(self, host: Host) -> str:
        records = host.plugins.values()
        running = sum(record.state is PluginState.RUNNING for record in records)
        plugins = f"{running} of {len(records)} plugins run"
        if any(record.fault for record in records) or host.faults:
            plugins += " (`pluginctl status` says why)"
        told = ", ".join(f"{key} {self._about[key]}" for key in ("pid", "control", "metrics"))
        told += "".join(f", {kind} {address}" for kind, address in self._about.get("doors", {}).items())
        return f"serving {self._named}: {plugins}; {told}"

    def _stop(self, host: Host) -> int:
        """Let calls finish and plugins stop, and tell how many calls did not."""
        self._asked.set()  # from now on a signal ends it at once
        self._about["state"] = "stopping"
        until = monotonic() + self._drain
        self._manager.tell("STOPPING=1", f"STATUS=ending within {self._drain:g} s")
        if self._by:
            self._say(f"{self._by}: ending within {self._drain:g} s; a second signal ends at once")
        left = 0
        try:
            left = self._close_doors()  # while the hosts still take the calls of those who have come in
            host.stop(max(until - monotonic(), 0.1))
            if self._starter is not None:
                self._starter.join(max(until - monotonic(), 0.1))
            host.stop(0.1)  # had the start been under way, it may only now be there to be stopped
        except Exception as error:  # noqa: BLE001  # what is left of the end is still to come
            host_log("ERROR", "stopping failed", error)
        left += len(host.calls)
        if self._by:
            self._say(f"ended; {left} calls were left behind" if left else "ended")
        return left

    def _close_doors(self) -> int:
        """Close the doors, and end the processes that serve one, all at once; tell how many calls these left behind."""
        with ThreadPoolExecutor(1, "pluginctl-end") as threads:
            others = None if self._processes is None else threads.submit(self._processes.end, self._drain)
            if self._doors is not None:
                self._doors.close(self._drain)
            return 0 if others is None else others.result()

    def _say(self, text: str) -> None:
        self._outlet.say(text)

    def _tell(self, text: str) -> None:
        for line in text.split("\n"):
            self._outlet.say(printable(line))

    def _expose_metrics(self, host: Host, port: int, stack: ExitStack) -> str:
        probes = Probes(host, control=host.control, names=True, unready=self._unready)
        server = ProbeServer(probes, host.control, port=port)
        try:
            server.start()
        except Unavailable as error:
            raise Unavailable(error.what, f"{error.reason} with --metrics-port") from error
        stack.callback(server.close)
        return f"http://127.0.0.1:{server.port}/metrics"
