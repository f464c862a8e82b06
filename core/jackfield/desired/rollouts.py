"""New versions that come by way of a trial: what of a file is to begin one, is on trial already, or was refused."""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Final

import attrs

from jackfield.config import PluginConfig, UpgradeConfig
from jackfield.desired.fields import same
from jackfield.desired.plan import Change
from jackfield.desired.state import Actual, Desired, Proposal, Refusal, Tried
from jackfield.model.record import PluginState

if TYPE_CHECKING:
    from jackfield.desired.documents import Kept
    from jackfield.desired.planning import Wanted

_FIXED: Final = ("executor", "depends_on", "auto_start")
"""What both versions of a plugin have in common: its place among the others."""


def on_trial(want: "Wanted", actual: Actual) -> Collection[str]:
    """Name the plugins whose wanted version is on trial.

    Args:
        want: what the host is to be.
        actual: what is there.
    """
    return {name for name, proposal in actual.rolling.items() if _is(want.plugins.get(name), proposal, actual)}


def refusals(want: "Wanted", desired: Desired, actual: Actual) -> Mapping[str, Refusal]:
    """Find the plugins whose wanted version was refused.

    Args:
        want: what the host is to be.
        desired: the state before.
        actual: what is there.

    Returns:
        Plugin → how it was refused.
    """
    found = {}
    for name, refusal in desired.refused.items():
        plugin, there = want.plugins.get(name), desired.deployed.get(name)
        if plugin is None or there is None or name not in actual.loaded or not _is(plugin, refusal.proposal, actual):
            continue
        if not same(there, plugin) or actual.changed([name]):  # else somebody has taken it since, by a reload
            found[name] = refusal
    return found


def still_refused(want: "Wanted", desired: Desired) -> Mapping[str, Refusal]:
    """Give the refusals that a file has not made pointless by saying something else.

    Args:
        want: what the host is to be.
        desired: the state before.
    """
    return {
        name: refusal
        for name, refusal in desired.refused.items()
        if name in want.plugins and same(refusal.proposal[0], want.plugins[name])
    }


def is_refused(tried: Tried, kept: "Kept") -> bool:
    """Tell whether somebody has refused what is on trial, before it was known to be on trial elsewhere, too.

    Args:
        tried: what is on trial.
        kept: what a store has of what is desired.
    """
    refusal = kept.refused.get(tried.name)
    return refusal is not None and tried.config is not None and same(refusal.proposal[0], tried.config)


def is_taken(tried: Tried, desired: Desired, kept: "Kept", functions: Collection[str]) -> bool:
    """Tell whether a trial that is over has ended with its version as the one that is wanted.

    Args:
        tried: what was on trial.
        desired: what is wanted now.
        kept: what a store has of that.
        functions: those that were under trial.
    """
    if tried.config is None:
        return all(desired.says(("route", name, "default")) == tried.version for name in functions)
    if tried.name in kept.refused or tried.name in kept.stable:
        return False
    wanted = desired.says(("plugin", tried.name, "loaded"))
    return wanted is not None and same(wanted, tried.config)


def _is(plugin: PluginConfig | None, proposal: Proposal, actual: Actual) -> bool:
    """Tell whether a version is what a plugin would be loaded as now; without `upgrade` it is not waited for."""
    config, digest = proposal
    if plugin is None or plugin.upgrade is None or not same(config, plugin):
        return False
    return actual.digest(plugin) in ("", digest)


def rolls_out(before: PluginConfig | None, after: PluginConfig, actual: Actual, want: "Wanted") -> bool:
    """Tell whether a version of a plugin can come beside the running one.

    Args:
        before: by what it was loaded; None when only its content has changed.
        after: by what it is to be loaded.
        actual: what is there.
        want: what the host is to be.
    """
    name = after.name
    if after.upgrade is None or not actual.running or name not in actual.loaded or name not in want.running:
        return False
    if actual.records[name].state is not PluginState.RUNNING:
        return False  # nobody calls it, and there is nothing to lose
    return before is None or comes_beside(before, after)


def comes_beside(before: PluginConfig, after: PluginConfig) -> bool:
    """Tell whether a version of a plugin is one to be tried beside another, by what both are loaded by.

    Args:
        before: by what the one is.
        after: by what the other is to be.
    """
    code = (before.path, before.version) != (after.path, after.version)
    return (
        after.upgrade is not None and code and all(getattr(before, field) == getattr(after, field) for field in _FIXED)
    )


def as_upgrade(change: Change, before: PluginConfig | None, after: PluginConfig) -> Change:
    """Give the step that brings a version beside the running one, in place of the one that would replace it.

    Args:
        change: that one.
        before: by what the plugin was loaded.
        after: by what it is to be loaded.
    """
    moved = before is not None and before.path != after.path
    what = f"{before.path} → {after.path}" if before is not None and moved else change.why
    return attrs.evolve(change, kind="upgrade", why=f"{what}; {_told(after.upgrade or UpgradeConfig())}", also=())


def _told(who: UpgradeConfig) -> str:
    """Say who tries a version first."""
    if not who.tried:
        return "the calls move at once"
    drawn = f"{who.share:.0%}" if who.share is not None else "all" if who.labels and not who.analyse else ""
    labels = " and ".join(f"{key}={value}" for key, value in who.labels.items())
    parts = [f"{drawn or 'some'} of {labels}" if labels else drawn, *who.tenants]
    tried = " and ".join(part for part in parts if part)
    return f"on trial{f' with {tried}' if tried else ''}{', analysed' if who.analyse else ''}"
