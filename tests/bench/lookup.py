"""Looking a function up through the host, against a bare dict."""

from harness import Effort, measure, statement
from results import Row, Section
from subjects import echo

from jackfield import Host

_FUNCTIONS = 100


def run(effort: Effort) -> Section:
    """Compare ``host.snapshot.functions[name]`` with ``functions[name]``."""
    names = [f"bench.echo{number}" for number in range(_FUNCTIONS)]
    with Host(observers=()) as host:
        with host.update() as transaction:
            for name in names:
                transaction.register(name, echo)
        bare = {name: host.snapshot.functions[name] for name in names}
        name = names[_FUNCTIONS // 2]
        snapshot = host.snapshot
        taken = measure(
            effort,
            {
                "host": statement("host.snapshot.functions[name]", unroll=10, host=host, name=name),
                "kept": statement("snapshot.functions[name]", unroll=10, snapshot=snapshot, name=name),
                "dict": statement("functions[name]", unroll=10, functions=bare, name=name),
            },
        )
    return Section(
        "Look-up",
        f"{_FUNCTIONS} functions; ten look-ups to each turn of the loop, so that the loop itself does not count.",
        [
            Row("`host.snapshot.functions[name]`", "a bare `dict[name]`", taken["host"], taken["dict"], bar=1.8),
            Row("`snapshot.functions[name]`, the snapshot kept", "a bare `dict[name]`", taken["kept"], taken["dict"]),
        ],
    )
