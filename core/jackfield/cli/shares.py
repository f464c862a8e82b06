"""Who runs, waits and was refused, as `status` and `dump-state` show it: by tenant, since the start or a moment ago."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from jackfield.cli.output import columns, styled
from jackfield.text import printable

_MOST: Final = 20  # tenants that are shown; JSON has all
_HEAD: Final = ("TENANT", "WEIGHT", "DUE", "GOT", "SEATS", "INSIDE", "WAITING", "CALLS", "SHED", "WAIT 99 %")


def share_lines(now: Mapping[str, Any] | None, before: Mapping[str, Any] | None = None) -> Iterator[str]:
    """Render what admission tells.

    Args:
        now: its state.
        before: an earlier one: then what is counted is what has come since.
    """
    if not now:  # nobody is due anything else than the others; or a host of an older version
        return
    waiting = sum(tenant["waiting"] for tenant in now["tenants"])
    yield f"admission: {now['inside']:,} of {now['limit']:,} seats are taken, {waiting:,} calls wait"
    earlier = {tenant["name"]: tenant for tenant in before["tenants"]} if before else {}
    tenants = [_since(tenant, earlier.get(tenant["name"])) for tenant in now["tenants"]]
    received = sum(tenant["seconds"] for tenant in tenants)
    shown = sorted(tenants, key=lambda tenant: (-tenant["seconds"], tenant["name"]))
    rows: list[tuple[str, ...]] = [_HEAD]
    rows += [_row(tenant, tenant["seconds"] / received if received else 0.0) for tenant in shown[:_MOST]]
    head, *lines = columns(rows)
    yield styled(head, "quiet")
    for tenant, line in zip(shown, lines, strict=False):
        yield styled(line, "odd") if tenant["waiting"] or tenant["refused"] else printable(line)
    if len(shown) > _MOST:
        yield f"and {len(shown) - _MOST:,} more tenants; --json has them"


def function_rows(now: Mapping[str, Any] | None) -> list[tuple[str, ...]]:
    """Give what was found out of the functions, as the cells of a table."""
    return [
        (
            each["function"],
            f"{each['inside']} of {each['limit']} inside",
            f"{each['waiting']} waiting",
            f"{each['typical'] * 1e3:.2f} ms",
        )
        for each in (now or {}).get("functions", ())
    ]


def _since(now: dict[str, Any], before: dict[str, Any] | None) -> dict[str, Any]:
    """Give what of a tenant has come since; without an earlier moment since the start."""
    if before is None:
        return now
    from jackfield.model.stored import Durations

    waits = Durations(tuple(now["waits"])) - Durations(tuple(before["waits"]))
    refused = {reason: number - before["refused"].get(reason, 0) for reason, number in now["refused"].items()}
    return now | {
        "seconds": now["seconds"] - before["seconds"],
        "admitted": now["admitted"] - before["admitted"],
        "refused": {reason: number for reason, number in refused.items() if number},
        "wait_p99": waits.within(0.99),
    }


def _row(tenant: dict[str, Any], received: float) -> tuple[str, ...]:
    shed = sum(tenant["refused"].values())
    why = ", ".join(f"{number:,} {reason}" for reason, number in sorted(tenant["refused"].items()))
    low = ", low priority" if tenant["priority"] == "low" else ""
    wait = tenant["wait_p99"]
    return (
        f"{tenant['name']}{low}",
        f"{tenant['weight']:g}",
        f"{tenant['due']:.0%}",
        f"{received:.0%}",
        str(tenant["seats"]),
        str(tenant["inside"]),
        str(tenant["waiting"]),
        f"{tenant['admitted']:,}",
        f"{shed:,} ({why})" if shed else "0",
        "-" if not tenant["admitted"] else "> 10 s" if wait == float("inf") else f"≤ {wait * 1e3:g} ms",
    )
