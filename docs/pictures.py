"""The pictures of the documentation, drawn from what the code says: `python docs/pictures.py` writes them anew.

A test says that they are what the source gives. They are plain SVG: nothing has to be loaded to see them, and each
has colours for light and for dark.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import groupby, pairwise
from math import log10
from pathlib import Path

from jackfield import Analysis, CanaryState, PluginState
from jackfield.calls import pipeline
from jackfield.plugins.transitions import ACTIVE, TRANSITIONS

FOLDER = Path(__file__).parent / "pictures"

_STYLE = """<style>
svg { --ink: #1f2a30; --soft: #66757d; --line: #8c9aa2; --box: #fff; --frame: #f2f5f6;
      --main: #b35c00; --bad: #b3261e; --good: #1b7f4b }
@media (prefers-color-scheme: dark) {
  svg { --ink: #e3e9ec; --soft: #9fb0b9; --line: #6d8089; --box: #2a363d; --frame: #222c32;
        --main: #ffb066; --bad: #ff8a80; --good: #7fd6a5 } }
</style>
"""


class Drawing:
    """An SVG that grows.

    Args:
        name: of the picture.
        title: what it shows, for those who cannot see it.
        width: in units of a pixel.
        height: likewise.
    """

    def __init__(self, name: str, title: str, width: int, height: int) -> None:
        self.name = name
        self._head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
            f' role="img" aria-label="{escape(title)}" font-family="system-ui, sans-serif" font-size="13">\n'
        )
        heads = "".join(
            f'<marker id="{name}-{colour}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8"'
            f' orient="auto"><path d="M0 0.8 7.5 4 0 7.2z" style="fill:var(--{colour})"/></marker>'
            for colour in ("line", "main", "bad", "good")
        )
        self._parts = [f"<defs>{heads}</defs>"]

    def box(self, x: float, y: float, width: float, height: float, colour: str = "line", fill: str = "box") -> None:
        """Draw a rectangle."""
        self._parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="6"'
            f' style="fill:var(--{fill});stroke:var(--{colour})"/>'
        )

    def text(self, x: float, y: float, text: str, colour: str = "ink", anchor: str = "start", more: str = "") -> None:
        """Write a line of text."""
        style = f"fill:var(--{colour});{more}"
        self._parts.append(f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" style="{style}">{escape(text)}</text>')

    def line(
        self, path: str, colour: str = "line", width: float = 1.2, *, dashed: bool = False, head: bool = True
    ) -> None:
        """Draw a path, with the head of an arrow."""
        more = ";stroke-dasharray:4 4" if dashed else ""
        end = f' marker-end="url(#{self.name}-{colour})"' if head else ""
        self._parts.append(
            f'<path d="{path}" style="fill:none;stroke:var(--{colour});stroke-width:{width:g}{more}"{end}/>'
        )

    def dot(self, x: float, y: float, radius: float, colour: str, fill: str = "") -> None:
        """Draw a dot, or a ring."""
        style = f"fill:var(--{fill or colour});stroke:var(--{colour});stroke-width:2"
        self._parts.append(f'<circle cx="{x:g}" cy="{y:g}" r="{radius:g}" style="{style}"/>')

    def save(self) -> str:
        """Give the text of the file."""
        return self._head + _STYLE + "\n".join(self._parts) + "\n</svg>\n"


SMALL, BOLD = "font-size:11.5px", "font-weight:600"
LEANING = "transform:rotate(-32deg);transform-box:fill-box;transform-origin:left bottom"
CODE = "font-family:ui-monospace,monospace;font-size:12px"

PHASES = {
    "inside[call] = None": ("enter the gate of this version", "a drain waits for whoever is inside", ()),
    "{starts}": ("observers: start", "span, calls in flight", ()),
    "enter(call)": ("the call becomes the current one", "current_call(), remaining(), Logger", ()),
    "raise not_started(call)": (
        "is there time left?",
        "absolute, the nearest of all that apply",
        ("deadline_exceeded",),
    ),
    "convert(value)": ("convert the payload", "or take it as it is", ("invalid_payload",)),
    "= {body}": (
        "inject, run the function",
        "here, in a thread, on a loop",
        ("rejected", "crashed", "unavailable"),
    ),
    "raise came_late(call)": ("has the deadline passed?", "then no result counts", ("deadline_exceeded",)),
    "    leave(token)": ("the call is the current one no more", "", ()),
    "{successes}": ("observers: finish, in reverse", "log record, counter, histogram, span", ()),
}
"""What stands in the template of every walk, and what it is for; the order is the template's."""


def walk() -> str:
    """Draw the walk of a call, in the order of the template that walks are generated from."""
    template = pipeline._WALK  # noqa: SLF001  # it is what is drawn
    places = {part: template.index(part) for part in PHASES}
    phases = [PHASES[part] for part in sorted(places, key=places.__getitem__)]
    row, left, wide = 50, 150, 340
    drawing = Drawing("walk", "The walk of a call, from its caller to its result", 720, 150 + row * len(phases) + 62)
    middle = left + wide / 2
    drawing.box(left, 8, wide, 34, "main")
    drawing.text(middle, 30, 'host.call("loans.score", payload, timeout=0.2)', anchor="middle", more=CODE)
    drawing.line(f"M{middle} 42V64", "main", 2)
    drawing.box(left, 64, wide, 46)
    drawing.text(left + 14, 84, "look up: snapshot → route → version → endpoint")
    drawing.text(left + 14, 101, "one immutable map, no lock", "soft", more=SMALL)
    outcome(drawing, left + wide, 87, ["not_found", "permission_denied"])
    drawing.line(f"M{middle} 110V136", "main", 2)
    top = 136
    drawing.box(left - 12, top, wide + 24, row * len(phases) + 12, "line", "frame")
    drawing.text(left - 22, top + 18, "the walk,", "soft", "end")
    drawing.text(left - 22, top + 35, "generated when", "soft", "end")
    drawing.text(left - 22, top + 52, "the function was", "soft", "end")
    drawing.text(left - 22, top + 69, "registered", "soft", "end")
    for number, (what, how, failures) in enumerate(phases):
        y = top + 8 + row * number
        drawing.box(left, y, wide, row - 8, "main" if "run the" in what else "line")
        drawing.text(left + 14, y + (18 if how else 26), what)
        drawing.text(left + 14, y + 34, how, "soft", more=SMALL)
        outcome(drawing, left + wide, y + 21, failures)
    end = top + row * len(phases) + 12
    drawing.line(f"M{middle} {end}V{end + 20}", "main", 2)
    drawing.text(middle, end + 38, "the result, or one error of the closed set", anchor="middle")
    return drawing.save()


def outcome(drawing: Drawing, x: float, y: float, names: Iterable[str]) -> None:
    """Draw the ways out of a step."""
    names = list(names)
    if names:
        drawing.line(f"M{x} {y}H{x + 34}", "bad")
    for number, name in enumerate(names):
        drawing.text(x + 42, y + 4 + 15 * (number - (len(names) - 1) / 2), name, "bad", more=CODE)


_S = PluginState
WAY = (_S.DISCOVERED, _S.REGISTERED, _S.STARTING, _S.RUNNING, _S.STOPPING, _S.STOPPED)
"""The way that most plugins go."""
ASIDE = (_S.BLOCKED, _S.FAILED, _S.DISABLED, _S.UNLOADED)
COLOURS = {_S.RUNNING: "good", _S.FAILED: "bad"}


def life() -> str:
    """Draw the way of a plugin through its states, and below it the table of every step that there is."""
    states, steps = (*WAY, *ASIDE), list(pairwise(WAY))
    assert set(states) == set(TRANSITIONS)
    assert all(target in TRANSITIONS[state] for state, target in steps)
    drawing = Drawing("life", "The states of a plugin, and how it may go from one to the next", 720, 510)
    wide, gap, y = 96, 24, 26
    first = 12 + WAY.index(min(ACTIVE, key=WAY.index)) * (wide + gap)
    drawing.box(first - 10, 8, len(ACTIVE) * (wide + gap) - gap + 20, 76, "line", "frame")
    drawing.text(first, 77, "there is a plugin object", "soft", more=SMALL)
    for number, state in enumerate(WAY):
        x = 12 + number * (wide + gap)
        drawing.box(x, y, wide, 34, COLOURS.get(state, "main"))
        drawing.text(x + wide / 2, y + 22, state.value, anchor="middle", more=BOLD)
        if number < len(WAY) - 1:
            drawing.line(f"M{x + wide} {y + 17}H{x + wide + gap}", "main", 2)
    left, top, column, row = 130, 168, 56, 31
    drawing.text(left - 14, top - 12, "from ↓   to →", "soft", "end", SMALL)
    for number, state in enumerate(states):
        x, y = left + column * number + column / 2, top + row * number
        drawing.text(x - 6, top - 12, state.value, COLOURS.get(state, "ink"), more=f"{SMALL};{LEANING}")
        drawing.box(left - 4, y, column * len(states) + 8, row - 4, "frame" if state not in ACTIVE else "line", "frame")
        drawing.text(left - 14, y + 18, state.value, COLOURS.get(state, "ink"), "end")
        for to, target in enumerate(states):
            at = left + column * to + column / 2
            if target in TRANSITIONS[state]:
                main = (state, target) in steps
                drawing.dot(at, y + 13.5, 6.5 if main else 4.5, "main" if main else COLOURS.get(target, "line"))
    drawing.text(
        left,
        top + row * len(states) + 18,
        "orange: the way that most go; nothing else ever happens",
        "soft",
        more=SMALL,
    )
    return drawing.save()


def canary() -> str:
    """Draw a canary with the analysis that it has when nobody says otherwise."""
    plan = Analysis()
    left, bottom, wide, high = 70, 300, 150, 220
    shares = [*plan.steps, 1.0]
    drawing = Drawing("canary", "A canary: its share of the calls, step by step", left + wide * len(shares) + 40, 400)
    drawing.line(f"M{left} {bottom}H{left + wide * len(shares)}", "line", 0.4, head=False)
    for share in shares:
        y = bottom - high * share
        drawing.text(left - 12, y + 4, f"{share:.0%}".replace("%", " %"), "soft", "end", SMALL)
        drawing.line(f"M{left} {y:g}H{left + wide * len(shares)}", "line", 0.4, head=False)
    for number, share in enumerate(shares):
        x, y, last = left + wide * number, bottom - high * share, number == len(shares) - 1
        above = bottom - high * shares[number + 1] if not last else y
        up = "" if last else f"V{above:g}"
        drawing.line(f"M{x} {y:g}H{x + wide}{up}", "good" if last else "main", 3, head=False)
        if last:
            drawing.text(x + wide / 2, y - 10, CanaryState.PROMOTED.value, "good", "middle", BOLD)
            continue
        for look in range(1, plan.looks + 1):
            at = x + wide * look / (plan.looks + 0.6)
            drawing.line(f"M{at:.1f} {y:g}V{bottom + 26}", "bad", 0.9, dashed=True)
            drawing.dot(at, y, 4, "main", "box")
            drawing.text(at, y - 10, str(plan.samples_for(look)), "soft", "middle", "font-size:10.5px")
    end = left + wide * (len(shares) - 1)
    drawing.box(left, bottom + 28, end - left, 30, "bad")
    why = f"{CanaryState.ABORTED.value}: more errors, or slower, and not by chance"
    drawing.text((left + end) / 2, bottom + 48, why, "bad", "middle", BOLD)
    legend = (
        "○ a look, when each version has had so many calls at this step;"
        f" {plan.looks} looks a step, {plan.interval:g} s apart at least"
    )
    drawing.text(left, bottom + 84, legend, "soft", more=SMALL)
    drawing.text(left, 36, "share of the calls", "soft", more=SMALL)
    return drawing.save()


MEASURED = FOLDER / "fair.json"
"""What `nox -s bench_doors -- --only fairness --json docs/pictures/fair.json` has found."""

WORKS = {
    "5 ms, bare uvicorn": "Calls of 5 ms in 40 threads, by hand behind bare uvicorn",
    "5 ms in a thread": "The same function behind the door",
    "5 ms, the flood is refused": "The flood is above its quota, and comes again at once when it is refused",
    "async, on the loop": "An async function that only computes",
}
WHEN = {"quiet": "good", "flood": "main"}


def fair() -> str:
    """Draw what tenants wait for while one floods, and their shares when all want everything, as it was measured."""
    table = json.loads(MEASURED.read_text("utf-8"))["benches"]["fairness"]["table"]
    rows = [list(row.values()) for row in table]
    waits = [row for row in rows if row[2] in WHEN]
    left, wide, row_high = 150, 540, 26
    tenants = {work: [name for name, _ in groupby(row[1] for row in waits if row[0] == work)] for work in WORKS}
    high = 66 + sum(34 + row_high * len(names) for names in tenants.values())
    drawing = Drawing("fair", "What calls take while one tenant floods, and the shares of three", 720, high + 150)

    def at(milliseconds: float) -> float:
        return left + wide * (log10(milliseconds) - log10(0.5)) / (log10(1000) - log10(0.5))

    for mark in (1, 10, 100, 1000):
        drawing.line(f"M{at(mark):.1f} 36V{high - 30}", "line", 0.4, head=False)
        drawing.text(at(mark), high - 14, f"{mark:,} ms", "soft", "middle", SMALL)
    for number, (when, said) in enumerate((("quiet", "alone"), ("flood", "while 512 connections flood"))):
        x = left + 60 * number
        drawing.dot(x, 14, 4, WHEN[when])
        drawing.text(x + 10, 18, said, "soft", more=SMALL)
    drawing.text(left + wide, 18, "● half of the calls take less   ○ 99 of 100 do", "soft", "end", SMALL)
    y = 48.0
    for work, title in WORKS.items():
        drawing.text(12, y + 4, title, more=BOLD)
        y += 24
        for name in tenants[work]:
            drawing.text(left - 14, y + 4, name, anchor="end")
            for _, _, when, _, half, most, _ in (row for row in waits if row[:2] == [work, name]):
                colour = "bad" if name == "the flood" else WHEN[when]
                place = y + (0 if name == "the flood" else -5 if when == "quiet" else 5)
                drawing.line(f"M{at(half):.1f} {place:g}H{at(most):.1f}", colour, 2, head=False)
                drawing.dot(at(half), place, 3.5, colour)
                drawing.dot(at(most), place, 3.5, colour, "box")
            y += row_high
        y += 10
    _shares(drawing, [row for row in rows if row[2].startswith("due")], left, high + 20, wide)
    return drawing.save()


def _shares(drawing: Drawing, rows: Sequence[Sequence[str]], left: float, y: float, wide: float) -> None:
    """Draw what three tenants are due, and what each got of each kind of work."""
    drawing.text(12, y, "Three tenants of weights 1, 2 and 3 that all want everything", more=BOLD)
    got: dict[str, Mapping[str, float]] = {"due": {row[1]: float(row[2].split()[1]) for row in rows}}
    got |= {work: {row[1]: float(row[3].split()[1]) for row in rows if row[0] == work} for work in WORKS}
    for label, work in (
        ("due", "due"),
        ("5 ms in a thread", "5 ms in a thread"),
        ("on the loop", "async, on the loop"),
    ):
        y += 30
        x = left
        drawing.text(left - 14, y + 5, label, anchor="end")
        for share in got[work].values():
            drawing.box(x, y - 10, wide * share - 3, 22, "line" if work == "due" else "main")
            drawing.text(x + wide * share / 2, y + 5, f"{share:.1%}".replace("%", " %"), anchor="middle", more=SMALL)
            x += wide * share


PICTURES = {"walk": walk, "life": life, "canary": canary, "fair": fair}


def main() -> None:
    """Write all of them."""
    FOLDER.mkdir(exist_ok=True)
    for name, draw in PICTURES.items():
        (FOLDER / f"{name}.svg").write_text(draw(), "utf-8")


if __name__ == "__main__":
    main()
