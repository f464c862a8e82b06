"""Types as data: what an annotation is made of, and its name in the user's words.

`view` looks one level deep into an annotation and gives one of a few frozen shapes; conversion and JSON Schema
(`payload`) and the comparison of contracts (`contract`) are readings of these shapes.

The parts: `kinds` (the shapes), `annotations` (evaluating and naming), `reading` (annotation → shape).
"""

from jackfield.contract.shapes.annotations import identity, is_pydantic, is_typed_dict, is_union, render, strip
from jackfield.contract.shapes.kinds import (
    NUMBERS,
    SCALARS,
    Anything,
    Array,
    Checked,
    Choice,
    Field,
    Fixed,
    Foreign,
    Leaf,
    Record,
    Table,
    View,
    children,
)
from jackfield.contract.shapes.reading import record, view

__all__ = [
    "NUMBERS",
    "SCALARS",
    "Anything",
    "Array",
    "Checked",
    "Choice",
    "Field",
    "Fixed",
    "Foreign",
    "Leaf",
    "Record",
    "Table",
    "View",
    "children",
    "identity",
    "is_pydantic",
    "is_typed_dict",
    "is_union",
    "record",
    "render",
    "strip",
    "view",
]
