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


def printable_json(text: str) -> str:
    r"""Do the same to JSON, which stays the same JSON: what is escaped stands in strings.

    Args:
        text: JSON; line breaks between its tokens stay.

    Examples:
        >>> print(printable_json('{"name": "Grüße \u202e\u2028"}'))
        {"name": "Grüße \u202e\u2028"}
    """
    if text.isascii() or text.isprintable():  # JSON itself has escaped the control characters of ASCII
        return text
    return "".join(sign if sign.isprintable() or sign == "\n" else _units(sign) for sign in text)


def _units(sign: str) -> str:
    pair = sign.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{pair[at : at + 2].hex()}" for at in range(0, len(pair), 2))


def one_line(value: object) -> object:
    """Clean what is text, and leave everything else as it is; for fields."""
    return printable(value) if isinstance(value, str) else value


def mermaid_text(text: str) -> str:
    """Write all but letters, digits and harmless signs as a character code: Mermaid reads most others as markup.

    Args:
        text: any text.

    Examples:
        >>> mermaid_text("text.slugify (a flow)")
        'text.slugify #40;a flow#41;'
    """
    return "".join(one if one.isalnum() or one in " .:@_-+[]" else f"#{ord(one)};" for one in printable(text))


def dot_text(text: str) -> str:
    """Write text for a quoted string of the DOT language.

    Args:
        text: any text.
    """
    return printable(text).replace("\\", "\\\\").replace('"', '\\"')
