"""Sections as Markdown for people and as JSON for programs."""

import os
import platform
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from harness import Effort, Series
from results import Check, Row, Section, Table

_LIBRARIES = (
    "jackfield",
    "attrs",
    "dishka",
    "loguru",
    "msgspec",
    "opentelemetry-sdk",
    "pluggy",
    "prometheus-client",
    "stevedore",
    "wireup",
)
_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))


def environment(effort: Effort, libraries: Sequence[str] = _LIBRARIES) -> dict[str, str]:
    """Describe what the figures depend on; no paths, no host name."""
    gil = "with" if getattr(sys, "_is_gil_enabled", lambda: True)() else "without"
    return {
        "Python": f"{platform.python_implementation()} {platform.python_version()}, {gil} the GIL",
        "platform": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "effort": f"{effort.rounds} interleaved rounds of {effort.sample:g} s"
        + (" (quick: no figures to quote)" if effort.quick else ""),
        "libraries": ", ".join(f"{name} {version(name)}" for name in libraries),
    }


def header(about: Mapping[str, str]) -> str:
    """Render the environment as a Markdown list."""
    lines = [f"- {key}: {value}" for key, value in about.items()]
    how = "Times are medians, in brackets the quartiles; a ratio is the median of the rounds' ratios, lower is better."
    return "\n".join(["# Benchmarks", "", *lines, "", how, ""])


def markdown(section: Section) -> str:
    """Render one section."""
    parts = [f"## {section.title}", ""]
    if section.note:
        parts += [section.note, ""]
    if section.rows:
        head = ("what", "against", "time", "its time", "ratio", "bar", "")
        parts += [_grid(head, [_row(row) for row in section.rows]), ""]
    if section.checks:
        parts += [_grid(("count", "found", "wanted", ""), [_check(check) for check in section.checks]), ""]
    if section.table is not None:
        parts += [_grid(section.table.columns, [[_cell(cell) for cell in line] for line in section.table.rows]), ""]
    return "\n".join(parts)


def plain(section: Section) -> dict[str, Any]:
    """Turn one section into JSON-ready data; times in seconds."""
    return {
        "title": section.title,
        "note": section.note,
        "rows": [
            {
                "what": row.what,
                "rival": row.rival,
                "subject_seconds": _series(row.subject_time),
                "rival_seconds": _series(row.rival_time),
                "ratio": _series(row.ratio),
                "bar": row.bar,
                "passed": row.passed,
            }
            for row in section.rows
        ],
        "checks": [
            {
                "what": check.what,
                "count": check.count,
                "among": check.among,
                "wanted": check.wanted,
                "passed": check.passed,
            }
            for check in section.checks
        ],
        "table": _table(section.table),
    }


def spread(series: Series) -> str:
    """Render the median and the quartiles of times, in the unit that suits the median.

    Examples:
        >>> spread(Series((4.1e-7, 4.2e-7, 4.5e-7)))
        '420 ns (415-435)'
    """
    scale, unit = next((entry for entry in _UNITS if series.median >= entry[0]), _UNITS[-1])
    low, high = series.quartiles
    return f"{_digits(series.median / scale)} {unit} ({_digits(low / scale)}-{_digits(high / scale)})"


def _digits(value: float) -> str:
    return f"{value:.{0 if value >= 100 else 1 if value >= 10 else 2}f}"


def _row(row: Row) -> list[str]:
    low, high = row.ratio.quartiles
    verdict = {None: "", True: "pass", False: "**short**"}[row.passed]
    bar = "" if row.bar is None else f"≤ {row.bar:g}"
    ratio = f"**{row.ratio.median:.2f}** ({low:.2f}-{high:.2f})"
    return [row.what, row.rival, spread(row.subject_time), spread(row.rival_time), ratio, bar, verdict]


def _check(check: Check) -> list[str]:
    return [
        check.what,
        f"{check.count:,} of {check.among:,}",
        f"{check.wanted:,}",
        "pass" if check.passed else "**short**",
    ]


def _cell(cell: str | float) -> str:
    if isinstance(cell, str):
        return cell
    return f"{cell:,.2f}" if cell < 100 and cell != int(cell) else f"{cell:,.0f}"


def _grid(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _series(series: Series) -> dict[str, Any]:
    low, high = series.quartiles
    return {"median": series.median, "first_quartile": low, "third_quartile": high, "samples": series.samples}


def _table(table: Table | None) -> list[dict[str, Any]]:
    if table is None:
        return []
    return [dict(zip(table.columns, line, strict=True)) for line in table.rows]
