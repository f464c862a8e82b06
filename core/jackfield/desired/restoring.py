"""What a host that starts is to be: its file, and what others had wanted besides when it ended."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import attrs

from jackfield.config import Configuration, PluginConfig, RouteConfig
from jackfield.desired.documents import Kept
from jackfield.desired.planning import Wanted, wanted
from jackfield.desired.rollouts import comes_beside, still_refused
from jackfield.desired.state import Desired, Refusal, Tried
from jackfield.errors import StoreUnusable, Unavailable
from jackfield.log import host_log

if TYPE_CHECKING:
    from jackfield.desired.keeping import Keeper


@attrs.frozen
class Restoration:
    """What a host is made of that has a store which lasts.

    Attributes:
        configuration: what it is made of: the file, or what was applied last, where the file and somebody have changed
            the same field since.
        want: that, with what others wrote and keep.
        refused: plugin → the version that the file asks for and that is not tried again.
        offered: digest of the last file that somebody had the host take over.
        stable: plugin → by what it is loaded, where what is wanted is to be tried first.
        trials: name → what was on trial.
        keeper: keeps what is desired from now on.
        changed: whether that is anything new.
    """

    configuration: Configuration
    want: Wanted
    refused: Mapping[str, Refusal]
    offered: str
    keeper: "Keeper"
    changed: bool
    stable: Mapping[str, PluginConfig] = attrs.field(factory=dict)
    trials: Mapping[str, Tried] = attrs.field(factory=dict)

    @property
    def plugins(self) -> dict[str, PluginConfig]:
        """By what plugins are loaded at the start."""
        return {**self.want.plugins, **self.stable}

    @property
    def routes(self) -> dict[str, RouteConfig]:
        """The rules of functions, with the default versions that somebody chose."""
        routes = dict(self.configuration.routes)
        for (_, name, _), written in self.want.ownership.of("route", "default"):
            routes[name] = attrs.evolve(routes.get(name, RouteConfig()), default=written.value)
        return routes


def restore(configuration: Configuration, keeper: "Keeper") -> Restoration | None:
    """Bring together what the file says and what the store has.

    Args:
        configuration: the file.
        keeper: of the store.

    Returns:
        What the host is made of; None when the store is away: then the file alone counts, and nothing is kept.

    Raises:
        StoreUnusable: if what is there is of a newer version, or damaged.
    """
    try:
        found = keeper.load()
    except Unavailable as error:
        reason = "the host starts as its file says, and what verbs change is not kept until it starts again"
        host_log("WARNING", f"what was desired cannot be read: {reason}", error)
        return None
    except ValueError as error:
        fix = "use the jackfield that wrote it, or restore a backup"
        raise StoreUnusable("desired/state", str(error), fix) from error
    if found is None:
        want = wanted(configuration, Desired(configuration))
        return Restoration(configuration, want, {}, configuration.digest, keeper, changed=True)
    before, kept = found.applied or configuration, found.kept
    desired = Desired(before, ownership=kept.ownership, refused=kept.refused)
    if configuration.digest == kept.offered != before.digest:
        host_log("INFO", f"the host starts as it was: {configuration.file} was undone, and is still the same")
        return _as_it_was(before, desired, kept, keeper)
    want = wanted(configuration, desired)
    if want.conflicts:
        keys = ", ".join(conflict.field for conflict in want.conflicts)
        reason = f"{configuration.file} and somebody have both changed {keys} since it was applied"
        fix = (
            "the host starts as it was; `pluginctl diff` shows both sides, and `pluginctl apply --force` takes the file"
        )
        host_log("WARNING", f"{reason}: {fix}")
        return _as_it_was(before, desired, kept, keeper)
    changed = bool(want.released) or configuration.digest != found.revision.digest
    refused = still_refused(want, desired)
    known = {**wanted(before, desired).plugins, **kept.stable}
    stable = {
        name: known[name]
        for name, plugin in want.plugins.items()
        if name in known and comes_beside(known[name], plugin)
    }
    for name in refused.keys() - stable.keys():
        reason = f"what was refused is all that is there now: {refused[name].reason}"
        host_log("WARNING", f"plugin {name}: {reason}; bring the content before back, or the next one")
    return Restoration(configuration, want, refused, configuration.digest, keeper, changed, stable, kept.trials)


def _as_it_was(before: Configuration, desired: Desired, kept: Kept, keeper: "Keeper") -> Restoration:
    want = wanted(before, desired)
    stable = {name: each for name, each in kept.stable.items() if name in want.plugins}
    return Restoration(before, want, kept.refused, kept.offered, keeper, False, stable, kept.trials)  # noqa: FBT003
