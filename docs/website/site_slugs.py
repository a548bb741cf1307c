"""The address of a heading inside its page: the one that code hosts give it, so that links hold in both places."""

import re


def slugify(heading: str, separator: str = "-") -> str:
    """Letters, digits, underscores and hyphens in lower case; every space is a hyphen.

    Examples
    --------
    >>> slugify("R, P and `kl`")
    'r-p-and-kl'
    """
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", separator)
