"""What can be wrong with a credential."""

import attrs


@attrs.frozen
class NotGood(Exception):
    """A credential that says of nobody who it is.

    Attributes:
        reason: why, without any of it.
    """

    reason: str
