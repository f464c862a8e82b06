"""Import what a candidate refers to."""

from typing import Any

from jackfield.plugins.discovery.catalogue import Candidate
from jackfield.plugins.discovery.entries import shown, split_reference


def load(candidate: Candidate) -> Any:
    """Import a candidate's module and fetch the attribute it names.

    Args:
        candidate: one that `scan` found.

    Returns:
        The object, or the module when the candidate names no attribute.

    Raises:
        PluginError: stage `reference` when the value is not an object reference; `import` when the module raises
            anything but KeyboardInterrupt, SystemExit included; `attribute` when the module does not have it. The
            original is `__cause__`.
    """
    from jackfield.plugins.barrier import Modules, refuse  # noqa: PLC0415  # it needs this package for its messages

    reference = split_reference(candidate.value)
    if reference is None:
        reason = f"({shown(candidate.value)}) is not an object reference"
        refuse(candidate.plugin, "reference", reason, "write `package.module:attribute`", entry=candidate.name)
    module, attributes = reference
    distribution = candidate.distribution or candidate.plugin
    modules = Modules(
        candidate.plugin, distribution=distribution, entry=candidate.name, reference=repr(candidate.value)
    )
    found = modules.module(module)
    return modules.fetch(found, attributes)[1] if attributes else found
