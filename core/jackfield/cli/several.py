"""Whether several processes serve one host file, and what has to be done for that before there is a host."""

import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path

import attrs

from jackfield.config import Configuration, HttpDoorConfig
from jackfield.config.doors_check import process_problems
from jackfield.config.lines import index_lines
from jackfield.config.load import KIND
from jackfield.config.problems import Problem
from jackfield.observe import multiprocess


def with_processes(configuration: Configuration, wanted: int | None) -> Configuration:
    """Give a configuration with as many processes as somebody wants.

    Args:
        configuration: what the file says.
        wanted: how many; None for what that says.

    Raises:
        ConfigError: if they cannot be.
    """
    if wanted is None:
        return configuration
    http = configuration.doors.http
    if http is None:
        problems = [Problem(("doors", "http"), "several processes serve the HTTP door, and there is none", "add it")]
        problems *= wanted > 1
    else:
        configuration = attrs.evolve(
            configuration, doors=attrs.evolve(configuration.doors, http=attrs.evolve(http, processes=wanted))
        )
        problems = list(process_problems(configuration.doors, configuration.store))
    if problems:
        text = configuration.content.decode("utf-8", "replace")
        raise KIND.error(configuration.file, problems, index_lines(text))
    return configuration


def shared_door(configuration: Configuration) -> HttpDoorConfig | None:
    """Give the door that several processes serve, if they do."""
    http = configuration.doors.http
    return None if http is None or http.processes == 1 else http


def share_metrics(stack: ExitStack) -> str:
    """Have the metrics of this process and of those that it starts added up by whichever is scraped.

    Args:
        stack: takes the files away at the end.

    Returns:
        The folder of the files; "" where somebody has set one, who takes care of it.
    """
    if multiprocess.is_shared():
        return ""
    folder = tempfile.mkdtemp(prefix="jackfield-metrics-")
    stack.callback(shutil.rmtree, folder, ignore_errors=True)
    multiprocess.share(Path(folder))
    return folder
