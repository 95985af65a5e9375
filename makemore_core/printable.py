"""Text from outside, such as words and paths, for a terminal or a line of a log."""

import re

_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    r"""With escapes for what would move the cursor, end the line or turn its direction.

    >>> print(printable("Zoë \x1b[2J"))
    Zoë \x1b[2J
    """
    return _UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], text)
