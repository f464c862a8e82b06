"""What pydantic misses in a value, in the words that jackfield has for the same: `int`, `str of length >= 3`.

Made of the kind of error and the limits that the model states, which pydantic documents for each kind
(https://docs.pydantic.dev/latest/errors/validation_errors/), and never of its message, which may repeat the value.
"""

from collections.abc import Mapping
from typing import Any, Final

_TYPES: Final = {
    "int": ("int_type", "int_parsing", "int_from_float", "int_parsing_size"),
    "float": ("float_type", "float_parsing"),
    "finite float": ("finite_number",),
    "bool": ("bool_type", "bool_parsing"),
    "complex": ("complex_type", "complex_str_parsing"),
    "str": ("string_type", "string_sub_type", "string_unicode"),
    "bytes": ("bytes_type", "bytes_invalid_encoding"),
    "list": ("list_type",),
    "tuple": ("tuple_type",),
    "set": ("set_type",),
    "frozenset": ("frozen_set_type",),
    "dict": ("dict_type", "mapping_type"),
    "iterable": ("iterable_type", "iteration_error"),
    "None": ("none_required",),
    "date": ("date_type", "date_parsing", "date_from_datetime_parsing", "date_from_datetime_inexact"),
    "date in the past": ("date_past",),
    "date in the future": ("date_future",),
    "time": ("time_type", "time_parsing"),
    "datetime": ("datetime_type", "datetime_parsing", "datetime_object_invalid", "datetime_from_date_parsing"),
    "datetime in the past": ("datetime_past",),
    "datetime in the future": ("datetime_future",),
    "datetime without a timezone": ("timezone_naive",),
    "datetime with a timezone": ("timezone_aware",),
    "timedelta": ("time_delta_type", "time_delta_parsing"),
    "Decimal": ("decimal_type", "decimal_parsing"),
    "UUID": ("uuid_type", "uuid_parsing"),
    "URL": ("url_type", "url_parsing", "url_syntax_violation"),
    "JSON text": ("json_invalid", "json_type"),
    "callable": ("callable_type",),
}
_LIMITS: Final = {
    "greater_than": "value > {gt}",
    "greater_than_equal": "value >= {ge}",
    "less_than": "value < {lt}",
    "less_than_equal": "value <= {le}",
    "multiple_of": "multiple of {multiple_of}",
    "string_too_short": "str of length >= {min_length}",
    "string_too_long": "str of length <= {max_length}",
    "string_pattern_mismatch": "str matching regex {pattern!r}",
    "bytes_too_short": "bytes of length >= {min_length}",
    "bytes_too_long": "bytes of length <= {max_length}",
    "too_short": "{of} of length >= {min_length}",
    "too_long": "{of} of length <= {max_length}",
    "decimal_max_digits": "Decimal of at most {max_digits} digits",
    "decimal_max_places": "Decimal of at most {decimal_places} decimal places",
    "decimal_whole_digits": "Decimal of at most {whole_digits} digits before the point",
    "uuid_version": "UUID of version {expected_version}",
    "url_scheme": "URL with the scheme {expected_schemes}",
    "url_too_long": "URL of length <= {max_length}",
    "enum": "one of {expected}",
    "literal_error": "one of {expected}",
    "is_instance_of": "{class}",
    "is_subclass_of": "subclass of {class}",
    "model_type": "{class_name}",
    "model_attributes_type": "object with the model's attributes",
    "dataclass_type": "{class_name}",
    "dataclass_exact_type": "{class_name}",
    "union_tag_not_found": "value with {discriminator}",
    "union_tag_invalid": "one of {expected_tags} as {discriminator}",
}
_WORDS: Final = {**{kind: word for word, kinds in _TYPES.items() for kind in kinds}, **_LIMITS}


def in_our_words(kind: str, context: Mapping[str, Any]) -> str | None:
    """Say what a value should have been.

    Args:
        kind: pydantic's name of the error, as in `string_too_short`.
        context: what pydantic says of the constraint.

    Returns:
        The expectation; None for a kind that is not known here, such as a validator of the author's own.

    Examples:
        >>> in_our_words("int_parsing", {}), in_our_words("string_too_short", {"min_length": 3})
        ('int', 'str of length >= 3')
        >>> in_our_words("literal_error", {"expected": "'a' or 'b'"})
        "one of 'a' or 'b'"
    """
    words = _WORDS.get(kind)
    if words is None:
        return None
    try:
        return words.format_map({**context, "of": str(context.get("field_type", "value")).lower()})
    except (KeyError, IndexError, ValueError):  # of another version of pydantic
        return None
