"""Text of strangers, made fit to be shown: the one place that cleans.

Plugins choose their names, versions, descriptions, and what their errors say; callers choose names and tenants. None of
that may begin a line of its own, steer a terminal, or show something else than it is.
"""


def printable(text: str, keep: str = "") -> str:
    r"""Escape what would begin another line, steer a terminal, or change the order in which text is read.

    Args:
        text: any text.
        keep: characters that stay as they are.

    Returns:
        The text, with every character that `str.isprintable` does not call printable as a Python escape: line breaks of
        all kinds, control characters, marks of direction, other invisible ones, lone surrogates.

    Examples:
        >>> printable("Grüße\n12:00:00 ERROR forged\x1b[2J")
        'Grüße\\n12:00:00 ERROR forged\\x1b[2J'
        >>> print(printable("user\u202egpj.exe"))
        user\u202egpj.exe
    """
    if text.isprintable():
        return text
    return "".join(
        sign if sign.isprintable() or sign in keep else sign.encode("unicode_escape", "surrogatepass").decode()
        for sign in text
    )


def one_line(value: object) -> object:
    """Clean what is text, and leave everything else as it is; for fields."""
    return printable(value) if isinstance(value, str) else value
