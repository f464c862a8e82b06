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
        taken = measure(
            effort,
            {
                "host": statement("host.snapshot.functions[name]", unroll=10, host=host, name=name),
                "registry": statement(
                    "registry.snapshot.functions[name]", unroll=10, registry=host._registry, name=name
                ),
                "kept": statement("snapshot.functions[name]", unroll=10, snapshot=host.snapshot, name=name),
                "dict": statement("functions[name]", unroll=10, functions=bare, name=name),
            },
        )
    floor = "a bare `dict[name]`"
    return Section(
        "Look-up",
        f"{_FUNCTIONS} functions; ten look-ups to each turn of the loop, so that the loop itself does not count.",
        [
            Row("through the registry, as every call does it", floor, taken["registry"], taken["dict"], bar=1.8),
            Row(
                "`host.snapshot.functions[name]`, a property and a read-only view", floor, taken["host"], taken["dict"]
            ),
            Row("`snapshot.functions[name]`, the snapshot kept", floor, taken["kept"], taken["dict"]),
        ],
    )
