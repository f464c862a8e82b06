"""Whether a version of a plugin may take the place of another while callers go on as if nothing had been."""

from collections.abc import Iterator

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from jackfield.config import Source
from jackfield.contract.widening import widened
from jackfield.errors import Fault, PluginError
from jackfield.manifests.grants import Permission, more
from jackfield.model.grants import Grants
from jackfield.plugins.bundle import PluginBundle


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
    anyhow = _anyhow(new)
    faults = [Fault("upgrade", name, entry, reason, anyhow) for entry, reason in _differences(old, new)]
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


def refuse_other(old: PluginBundle, requirement: str) -> None:
    """Refuse a requirement of another distribution before anything of it is fetched.

    Args:
        old: the version that runs.
        requirement: what is to run instead, a good one.

    Raises:
        PluginError: if it names another distribution.
    """
    named = Requirement(requirement).name
    if old.distribution and canonicalize_name(old.distribution) != canonicalize_name(named):
        version = f"'{old.distribution}=={old.version}'"
        fix = f"name a version of {old.distribution}, as in {version}, or load the other one as another plugin"
        raise PluginError(old.name, "upgrade", f"{named} is another distribution than {old.distribution}", fix)


def _anyhow(new: PluginBundle) -> str:
    source = Source.parse(new.location)
    if source is not None and source.kind == "requirement":
        return f"`pluginctl upgrade {new.name} '{new.location}' --force` takes it, once its callers can do with that"
    return "take `upgrade` out of its [[plugin]], and an apply takes it at once, once its callers can do with that"


def _differences(old: PluginBundle, new: PluginBundle) -> Iterator[tuple[str, str]]:
    """Give what differs, each with the function or plugin that it is of."""
    if old.distribution and canonicalize_name(old.distribution) != canonicalize_name(new.distribution):
        yield new.name, f"it is another distribution, {new.distribution}, and was {old.distribution}"
    try:
        # Without the labels that tell apart what has one number: they have no order.
        was, comes = (Version(each.version.partition("+")[0]) for each in (old, new))
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
