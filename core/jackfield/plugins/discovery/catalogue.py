"""What discovery found: candidates, the rules that choose among them, and what the operator's switches leave."""

import re
from collections.abc import Iterable

import attrs

from jackfield.errors import Fault
from jackfield.model.names import close_names
from jackfield.plugins.discovery.entries import FUNCTIONS, GROUPS, canonical
from jackfield.plugins.discovery.switches import Switches

# What setuptools keeps beside the code that is worked on; what it installs has the version in its name.
_BESIDE_SOURCE = re.compile(r".*[/\\](?![^/\\]*-\d)[^/\\]*\.egg-info", re.IGNORECASE | re.DOTALL)
_RANKS = {group: rank for rank, group in enumerate(GROUPS)}

SAME_LINE = "the first of several lines in one entry_points.txt wins"
SAME_DIRECTORY = (
    "of one distribution installed twice in one directory, .dist-info wins over .egg-info, then the higher version"
)
SAME_DISTRIBUTION = "of one distribution found twice, the one earlier on sys.path wins, as for import"
EARLIER_ON_PATH = "of two distributions, the one earlier on sys.path wins, as for import"
ALPHABETICAL = "of two distributions in one directory of sys.path, the one first in alphabetical order wins"


@attrs.frozen
class Candidate:
    """One entry point, known from metadata alone: nothing of it has been imported.

    Attributes:
        group: `jackfield.functions`, `.plugins`, `.providers` or `.hooks`.
        name: the entry's name; for a function the name it is called by.
        value: the object reference, as in `my_pkg.text:slugify`.
        distribution: the installed distribution's name, normalised as PEP 503 does.
        version: the distribution's version.
        location: the metadata directory or file it was read from.
        plugin: what `pluginctl list` prints and the switches take; the distribution's name.
        site: the position of its directory on `sys.path`, for the rules.
    """

    group: str
    name: str
    value: str
    distribution: str
    version: str = "0"
    location: str = ""
    plugin: str = attrs.field(default=attrs.Factory(lambda self: self.distribution, takes_self=True))
    site: int = attrs.field(default=0, eq=False, repr=False)

    def __str__(self) -> str:
        """Render as `text.slugify from my-plugin 1.4 (/path/my_plugin-1.4.dist-info)`."""
        return f"{self.name} from {self.plugin} {self.version} ({self.location})"


@attrs.frozen
class Shadowed:
    """A candidate that is not served because another one is.

    Attributes:
        candidate: the one left out.
        winner: the one served instead; None when what wins does not advertise that entry.
        rule: why, as a sentence without a full stop.
    """

    candidate: Candidate
    winner: Candidate | None
    rule: str

    @property
    def is_editable_twin(self) -> bool:
        """Whether it is the winner itself: an editable install is found once as installed, once beside its source."""
        if self.winner is None or self.rule != SAME_DISTRIBUTION or self.winner.value != self.candidate.value:
            return False
        return any(_BESIDE_SOURCE.fullmatch(one.location) for one in (self.candidate, self.winner))


@attrs.frozen
class Disabled:
    """A candidate that the operator switched off.

    Attributes:
        candidate: the one left out.
        switch: the environment variable that did it.
    """

    candidate: Candidate
    switch: str


@attrs.frozen
class Explanation:
    """Why a name is served as it is, or is not.

    Attributes:
        name: what was asked for: an entry's name or a plugin's.
        served: the candidates that won.
        shadowed: those that lost, with the winner and the rule.
        disabled: those that are switched off, with the switch.
        faults: what is wrong with entries of that name or plugin.
        close: when nothing is known of the name, names that resemble it.
    """

    name: str
    served: tuple[Candidate, ...] = ()
    shadowed: tuple[Shadowed, ...] = ()
    disabled: tuple[Disabled, ...] = ()
    faults: tuple[Fault, ...] = ()
    close: tuple[str, ...] = ()


@attrs.frozen(eq=False)
class Found:
    """What scanning found, before the rules between distributions and the switches.

    Attributes:
        candidates: of the distributions that count, by place on `sys.path`, by distribution, then as in the file.
        shadowed: what lost to another installation of the same distribution.
        faults: of scanning.
    """

    candidates: tuple[Candidate, ...] = ()
    shadowed: tuple[Shadowed, ...] = ()
    faults: tuple[Fault, ...] = ()

    @property
    def plugins(self) -> set[str]:
        """The names of all plugins, the faulty ones included."""
        names = {candidate.plugin for candidate in self.candidates}
        return names | {one.plugin for one in self.faults if one.plugin}


@attrs.frozen(eq=False)
class Catalogue:
    """Everything one scan found.

    The rules, when two claim the same thing:

    1. One candidate per real distribution. Found twice (an editable install, a link from `lib64` to `lib`, a user's
       site directory before the system's), the one earlier on `sys.path` counts, because that is the one whose code
       would be imported. This is no fault. Two versions left in one directory are one: `.dist-info` wins over
       `.egg-info`, then the higher version.
    2. A function's name belongs to one distribution. The one earlier on `sys.path` wins, so that a directory put in
       front overrides as it does for import; within one directory the one whose name is alphabetically first, so that
       the order of installation never matters. The loser is reported as a fault: it would be silent otherwise.
    3. A plugin that is switched off claims nothing: disabling the winner serves the other.

    Names in the other groups are labels and cannot conflict between distributions.

    Attributes:
        candidates: what is served, by group, name and distribution.
        shadowed: what lost, to whom, by what rule.
        disabled: what the operator switched off.
        faults: everything that is wrong, in the order in which it was found.
    """

    candidates: tuple[Candidate, ...] = ()
    shadowed: tuple[Shadowed, ...] = ()
    disabled: tuple[Disabled, ...] = ()
    faults: tuple[Fault, ...] = ()
    _found: Found = attrs.field(factory=Found, repr=False, alias="found")

    @property
    def plugins(self) -> tuple[str, ...]:
        """The names of all plugins found, sorted: those that serve, are shadowed, faulty or switched off."""
        return tuple(sorted(self._found.plugins))

    def group(self, group: str) -> tuple[Candidate, ...]:
        """Give the candidates of one group.

        Args:
            group: as in `jackfield.functions`.
        """
        return tuple(candidate for candidate in self.candidates if candidate.group == group)

    def find(self, name: str, group: str = FUNCTIONS) -> Candidate | None:
        """Find the candidate that is served under a name, or None.

        Args:
            name: the entry's name.
            group: where to look.
        """
        return next((one for one in self.candidates if one.name == name and one.group == group), None)

    def select(self, switches: Switches, *, also: Iterable[str] = ()) -> "Catalogue":
        """Apply the operator's switches to what was found, in place of any applied before.

        Faults of a plugin that is switched off go with it: under `JACKFIELD_STRICT`, a broken plugin can be disabled.

        Args:
            switches: what the environment asks for.
            also: plugins known from elsewhere, such as a configuration, that the switches may name.
        """
        return resolve(self._found, switches, also)

    def explain(self, name: str) -> Explanation:
        """Say what became of a name.

        Args:
            name: an entry's name in any group, or a plugin's name in any spelling.
        """
        plugin = canonical(name)

        def matches(candidate: Candidate) -> bool:
            return candidate.name == name or canonical(candidate.plugin) == plugin

        explanation = Explanation(
            name,
            tuple(filter(matches, self.candidates)),
            tuple(one for one in self.shadowed if matches(one.candidate) or (one.winner and matches(one.winner))),
            tuple(one for one in self.disabled if matches(one.candidate)),
            tuple(one for one in self.faults if one.entry == name or (one.plugin and canonical(one.plugin) == plugin)),
        )
        if explanation.served or explanation.shadowed or explanation.disabled or explanation.faults:
            return explanation
        known = {candidate.name for candidate in self._found.candidates} | self._found.plugins
        return attrs.evolve(explanation, close=close_names(name, sorted(known)))


def resolve(found: Found, switches: Switches, also: Iterable[str] = ()) -> Catalogue:
    """Choose among what was found: first the switches, then the rules between distributions.

    Args:
        found: in the order in which the first claim wins.
        switches: what the environment asks for.
        also: plugins known from elsewhere that the switches may name.
    """
    plugins = found.plugins
    # Nothing is switched off as a rule, and asking a thousand times takes as long as reading them.
    refusals = (
        {plugin: why for plugin in plugins if (why := switches.refusal(plugin))}
        if switches.load or switches.disable
        else {}
    )
    served: list[Candidate] = []
    shadowed = [one for one in found.shadowed if not refusals.get(one.candidate.plugin)]
    disabled: list[Disabled] = []
    faults = [fault for fault in found.faults if not refusals.get(fault.plugin)]
    owners: dict[tuple[str, str, str], Candidate] = {}
    for candidate in found.candidates:
        if refusals and (switch := refusals.get(candidate.plugin)):
            disabled.append(Disabled(candidate, switch))
            continue
        owner = owners.setdefault(_claim(candidate), candidate)
        if owner is candidate:
            served.append(candidate)
        else:
            shadowed.append(Shadowed(candidate, owner, _rule(candidate, owner)))
            faults.append(_conflict(candidate, owner))
    served.sort(key=_order)
    faults += switches.faults + switches.unknown(plugins.union(also))
    return Catalogue(tuple(served), tuple(shadowed), tuple(disabled), tuple(faults), found)


def _claim(candidate: Candidate) -> tuple[str, str, str]:
    # Only functions share one namespace; elsewhere the name is a label within its own distribution.
    return candidate.group, candidate.name, "" if candidate.group == FUNCTIONS else candidate.distribution


def _order(candidate: Candidate) -> tuple[int, str, str]:
    return _RANKS[candidate.group], candidate.name, candidate.distribution


def _rule(loser: Candidate, winner: Candidate) -> str:
    if loser.distribution == winner.distribution:
        return SAME_LINE
    return ALPHABETICAL if loser.site == winner.site else EARLIER_ON_PATH


def _conflict(loser: Candidate, winner: Candidate) -> Fault:
    rule = _rule(loser, winner)
    if loser.distribution == winner.distribution:
        reason = f"{loser.location} advertises it as {winner.value} and as {loser.value}; {rule}"
        return Fault("duplicate", loser.plugin, loser.name, reason, "give one of them another name, and install again")
    reason = (
        f"advertised by {winner.plugin} {winner.version} ({winner.location}), which is served,"
        f" and by {loser.plugin} {loser.version} ({loser.location}), which is not: {rule}"
    )
    fix = f"uninstall one of them, or set JACKFIELD_DISABLE_PLUGINS={winner.plugin} to get that of {loser.plugin}"
    return Fault("duplicate", loser.plugin, loser.name, reason, fix)
