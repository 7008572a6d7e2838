"""Texts: prompts and captions."""

from __future__ import annotations

from unclip_mm.errors import InputError

MAX_CHARACTERS = 1000
"""The longest text that is taken."""


def check_text(source: object, *, name: str = "text") -> str:
    """Check a text and return it without the white space around it.

    Args:
        source: A string with at least one visible and at most ``MAX_CHARACTERS`` characters.
        name: What an error calls it.

    Raises:
        InputError: Not a string, blank, too long, or not valid Unicode.

    Example:
        >>> check_text(" a red apple")
        'a red apple'
        >>> check_text("  ", name="text 2")
        Traceback (most recent call last):
        ...
        unclip_mm.errors.InputError: text 2: is blank; give at least one word
    """
    if not isinstance(source, str):
        raise InputError(f"{name}: is a {type(source).__name__}; give a string")
    if not any(character.isprintable() and not character.isspace() for character in source):
        raise InputError(f"{name}: is blank; give at least one word")
    text = source.strip()
    if len(text) > MAX_CHARACTERS:
        raise InputError(f"{name}: has {len(text)} characters; give at most {MAX_CHARACTERS}")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise InputError(f"{name}: is not valid Unicode; give text in UTF-8")
    return text
