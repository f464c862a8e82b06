"""The pictures of the documentation are what the code says."""

import importlib.util
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from jackfield.calls import pipeline

FOLDER = Path(__file__).parents[2] / "docs"
_SPEC = importlib.util.spec_from_file_location("pictures", FOLDER / "pictures.py")
pictures = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(pictures)


@pytest.mark.parametrize("name", pictures.PICTURES)
def test_a_picture_is_what_its_source_gives(name):
    """A change of the source asks for `python docs/pictures.py`."""
    assert (FOLDER / "pictures" / f"{name}.svg").read_text("utf-8") == pictures.PICTURES[name]()


@pytest.mark.parametrize("name", pictures.PICTURES)
def test_a_picture_needs_nothing_else(name):
    """It is well-formed, says what it shows, and loads nothing from anywhere."""
    drawn = pictures.PICTURES[name]()
    assert ET.fromstring(drawn).get("aria-label")  # noqa: S314  # our own
    assert "http" not in drawn.replace("http://www.w3.org/2000/svg", "")


def test_every_picture_is_shown():
    """On a page, by a link that leads there."""
    pages = "".join(page.read_text("utf-8") for page in FOLDER.rglob("*.md"))
    assert all(f"pictures/{name}.svg)" in pages for name in pictures.PICTURES)
    assert {file.stem for file in (FOLDER / "pictures").glob("*.svg")} == set(pictures.PICTURES)


def test_the_walk_has_every_phase_of_the_template():
    """Each is in the template that walks are generated from; a phase that went would not be drawn in silence."""
    assert all(pipeline._WALK.count(part) >= 1 for part in pictures.PHASES)
