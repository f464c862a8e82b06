"""`pluginctl serve`."""

from pathlib import Path
from typing import Annotated

import typer

from jackfield.cli.running import Control
from jackfield.cli.taken import number, whole


def serve(
    config: Annotated[Path, typer.Argument(help="The configuration file, as in jackfield.toml.", metavar="CONFIG")],
    control: Control = None,
    metrics_port: Annotated[
        int | None,
        typer.Option(
            parser=whole(0, 65_535),
            help="The loopback port of /metrics; by default the file's, else at the HTTP door, else any free.",
            metavar="N",
        ),
    ] = None,
    drain: Annotated[
        float, typer.Option(parser=number(0), help="Seconds that calls and plugins have to end.", metavar="S")
    ] = 10.0,
    processes: Annotated[
        int | None,
        typer.Option(
            parser=whole(1, 256), help="How many processes serve the HTTP door; by default the file's.", metavar="N"
        ),
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Apply the file whenever it changes, or a plugin's file or folder.")
    ] = False,
) -> None:
    """Run a host from a configuration file, until SIGTERM or Ctrl-C.

    Plugins that fail are told of, and the others serve, unless the file says `strict`. Others call its functions
    through the doors of the file, `[doors.http]` and `[doors.grpc]`; `pluginctl status` and the verbs beside it speak
    to it through its control socket. SIGHUP applies the file again. Spans, metrics and logs are exported where the
    OTEL_* variables say so.

    Exit codes: 0 ended in order, and every call finished; 1 it could not begin, or calls were left behind; 2 wrong
    usage; 128+N a second signal N ended it at once.
    """
    from jackfield.cli.ending import leave
    from jackfield.cli.service import Service
    from jackfield.cli.streams import free_stdout

    free_stdout()
    leave(Service(config, control, metrics_port, drain, watch=watch, processes=processes).run())
