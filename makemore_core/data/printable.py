"""Text from outside, such as words and paths, for a terminal, a line of a log or a picture."""

import unicodedata

INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
"""Unicode categories that move the cursor, end the line, turn its direction, take no room or have
no picture; XML may not hold most of them."""


def printable(text: str) -> str:
    r"""With escapes for what cannot be seen, or would move the cursor or turn the line.

    >>> print(printable("Zoë \x1b[2J \u200b"))
    Zoë \x1b[2J \u200b
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        ascii(character)[1:-1] if unicodedata.category(character) in INVISIBLE else character
        for character in text
    )
