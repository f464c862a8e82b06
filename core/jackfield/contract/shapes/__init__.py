"""Types as data: what an annotation is made of, and its name in the user's words.

`view` looks one level deep into an annotation and gives one of a few frozen shapes; conversion and JSON Schema
(`payload`) and the comparison of contracts (`contract`) are readings of these shapes.

The parts: `kinds` (the shapes), `layers` (what is wrapped around a type), `annotations` (those of classes, and naming),
`constraints` (what `Annotated` asks for), `reading` (annotation → shape).
"""

from jackfield.contract.shapes.annotations import identity, is_pydantic, is_typed_dict, render
from jackfield.contract.shapes.kinds import (
    NUMBERS,
    SCALARS,
    Anything,
    Array,
    Checked,
    Choice,
    Constraint,
    Delegated,
    Field,
    Fixed,
    Foreign,
    Leaf,
    Record,
    Table,
    View,
    children,
)
from jackfield.contract.shapes.layers import strip
from jackfield.contract.shapes.reading import parameters, record, unchecked, view

__all__ = [
    "NUMBERS",
    "SCALARS",
    "Anything",
    "Array",
    "Checked",
    "Choice",
    "Constraint",
    "Delegated",
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
    "parameters",
    "record",
    "render",
    "strip",
    "unchecked",
    "view",
]
