"""Whether a version of a plugin may take the place of another while callers go on as if nothing had been."""

from collections.abc import Iterator

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from jackfield.contract.widening import widened
from jackfield.errors import Fault, PluginError
from jackfield.manifests.grants import Permission, more
from jackfield.model.grants import Grants
from jackfield.plugins.bundle import PluginBundle

_ANYHOW = "upgrade it anyhow with `force`, once its callers can do with that"


def check_compatible(old: PluginBundle, new: PluginBundle, before: Permission, after: Permission) -> None:
    """Refuse a version that is not compatible with another.

    Args:
        old: the version that runs.
        new: the one that is to run instead.
        before: what the old one is granted.
        after: what the new one is granted.

    Raises:
        PluginError: with every difference as a fault.
    """
    name = new.name
    faults = [Fault("upgrade", name, entry, reason, _ANYHOW) for entry, reason in _differences(old, new)]
    asked = more(Grants.of(before.missing), Grants.of(after.missing))
    if asked:
        reason = f"it asks for {', '.join(asked)}, which {old.version} did not, and nobody allows"
        faults.append(Fault("grants", name, name, reason, f"{after.allow} under its [plugin.worker] allows it"))
    if faults:
        reason = "; ".join(
            fault.reason if fault.entry == name else f"{fault.entry}: {fault.reason}" for fault in faults
        )
        what = f"{new.version} cannot take the place of {old.version}: {reason}"
        raise PluginError(name, faults[0].stage, what, faults[0].fix, tuple(faults))


def _differences(old: PluginBundle, new: PluginBundle) -> Iterator[tuple[str, str]]:
    """Give what differs, each with the function or plugin that it is of."""
    if old.distribution and canonicalize_name(old.distribution) != canonicalize_name(new.distribution):
        yield new.name, f"it is another distribution, {new.distribution}, and was {old.distribution}"
    try:
        was, comes = Version(old.version), Version(new.version)
    except InvalidVersion:
        yield new.name, f"the versions {old.version} and {new.version} cannot be compared"
    else:
        if comes.release[0] != was.release[0]:
            yield new.name, f"{new.version} is of another major version than {old.version}"
        elif comes < was:
            yield new.name, f"{new.version} comes before {old.version}"
    there = {spec.name: spec for spec in new.specs}
    for spec in old.specs:
        if spec.name not in there:
            yield spec.name, "it is not there any more"
            continue
        for difference in widened(spec, there[spec.name]):
            yield spec.name, difference
