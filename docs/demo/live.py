"""Changes under load: a plugin that is replaced while thousands of calls go through it, and a canary that fails."""

import itertools
import threading
from collections import Counter
from pathlib import Path
from time import monotonic, perf_counter

from shown import console

from jackfield import Analysis, FunctionCrashed, Host

TILL = """
from jackfield import function

class Till:
    def __init__(self): self.sales = 0
    def snapshot(self): return {"sales": self.sales}
    def restore(self, state): self.sales = state["sales"]

    @function
    def sell(self, amount: int) -> str:
        self.sales += 1
        return "{edition}"
"""
CONFIGURATION = '[[plugin]]\nname = "till"\npath = "./till.py:Till"\nversion = "1.0"\n'
EDITIONS = 6
CALLERS = 4


def reload_under_load(folder: Path) -> None:
    """Edit a plugin's file again and again while threads call it as fast as they can."""
    source = folder / "till.py"
    source.write_text(TILL.replace("{edition}", "edition 1"), "utf-8")
    (folder / "shop.toml").write_text(CONFIGURATION, "utf-8")
    answers: list[Counter[str]] = [Counter() for _ in range(CALLERS)]
    with Host.from_config(folder / "shop.toml", observers=()) as host:
        enough = threading.Event()

        def call(mine: Counter[str]) -> None:
            while not enough.is_set():
                try:
                    mine[host.call("till.sell", 3, timeout=1.0)] += 1
                except Exception as error:  # noqa: BLE001  # whatever it is, it is shown
                    mine[f"FAILED: {error}"] += 1

        callers = [threading.Thread(target=call, args=(mine,)) for mine in answers]
        for caller in callers:
            caller.start()
        slowest, handed = 0.0, 0
        for edition in range(2, EDITIONS + 1):
            source.write_text(TILL.replace("{edition}", f"edition {edition}"), "utf-8")
            began = perf_counter()
            report = host.reload("till")
            slowest = max(slowest, perf_counter() - began)
            handed += report.state_handed
        enough.set()
        for caller in callers:
            caller.join()
    total = sum(answers, Counter[str]())
    failed = sum(count for answer, count in total.items() if answer.startswith("FAILED"))
    for answer, count in sorted(total.items()):
        console.print(f"  {answer}: {count:>8,} calls")
    console.print(
        f"{total.total():,} calls from {CALLERS} threads met {EDITIONS - 1} reloads: [bold]{failed} failed[/];"
        f" the slowest took {slowest:.1f} s; the state was handed over {handed} times"
    )


def bad_canary() -> None:
    """Give a share of the traffic to a version with a bug, and let the analysis see it."""
    numbers = itertools.count(1)

    def score(amount: int) -> float:
        return amount / 100

    def score_anew(amount: int) -> float:
        if next(numbers) % 5 == 0:
            raise ZeroDivisionError("a bug in one call of five")
        return amount / 100

    with Host(observers=()) as host:
        host.register("risk.score", score, version="1.0", plugin="risk")
        host.register("risk.score", score_anew, version="1.1", plugin="risk")
        canary = host.canary("risk.score", version="1.1", analysis=Analysis(steps=(0.05, 0.5), looks=3, interval=0.0))
        outcomes: Counter[str] = Counter()
        end = monotonic() + 20.0  # it takes far less
        for number in itertools.count():
            try:
                host.call("risk.score", 250, tenant=f"t-{number}")
                outcomes["ok"] += 1
            except FunctionCrashed:
                outcomes["crashed"] += 1
            if canary.status.state != "running" or monotonic() > end:
                break
        after = Counter(_ends(host, number) for number in range(2_000))
    console.print(
        f"1.1 was given {canary.status.share:.0%} of the tenants. It is [bold]{canary.status.state}[/], by itself:"
    )
    console.print(f"  {canary.status.reason}")
    hurt = outcomes["crashed"] / outcomes.total()
    console.print(f"until then {outcomes['crashed']:,} of {outcomes.total():,} calls had failed ({hurt:.1%})")
    console.print(f"since then {after['crashed']} of {after.total():,}: everybody has 1.0 again, in one swap")


def _ends(host: Host, number: int) -> str:
    try:
        host.call("risk.score", 250, tenant=f"t-{number}")
    except FunctionCrashed:
        return "crashed"
    return "ok"
