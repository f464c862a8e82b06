"""A call of a function that is under trial, against one of a function that is not."""

from harness import Effort, measure, statement
from results import Row, Section
from subjects import ITEM, echo

from jackfield import Host

_BAR = 1.3
_BAR_UNKNOWN = 1.4
"""Without a tenant there is nothing to remember a draw by."""


def run(effort: Effort) -> Section:
    """Compare calls on a route with a split with calls on a plain one."""
    with Host(observers=()) as host:
        for name in ("bench.plain", "bench.trial"):
            host.register(name, echo, version="1")
            host.register(name, echo, version="2")
        host.canary("bench.trial", version="2", share=0.2, tenants=["named"])
        plain, trial = "host.call('bench.plain', item{0})", "host.call('bench.trial', item{0})"
        kinds = {"none": "", "drawn": ", tenant='t-8823'", "named": ", tenant='named'", "asked": ", version='2'"}
        samplers = {}
        for kind, extra in kinds.items():
            samplers[f"plain {kind}"] = statement(plain.format(extra), host=host, item=ITEM)
            samplers[f"trial {kind}"] = statement(trial.format(extra), host=host, item=ITEM)
        taken = measure(effort, samplers)
    against = "the same on a plain route"
    return Section(
        "A canary route",
        "Two versions each; 20 % of the calls and of the tenants go to the second. A call without tenant is drawn at"
        " random, a tenant's draw is a kept hash.",
        [
            Row(
                "`host.call(name, item)` on a canary route",
                against,
                taken["trial none"],
                taken["plain none"],
                bar=_BAR_UNKNOWN,
            ),
            Row(
                "on a canary route with a tenant, drawn", against, taken["trial drawn"], taken["plain drawn"], bar=_BAR
            ),
            Row(
                "on a canary route with a tenant, named by the rule",
                against,
                taken["trial named"],
                taken["plain named"],
                bar=_BAR,
            ),
            Row("on a canary route with a version asked for", against, taken["trial asked"], taken["plain asked"]),
        ],
    )
