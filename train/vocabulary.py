"""Which tokens of BERT's vocabulary a small text encoder keeps: the words of English, and what spells the rest.

Every token is a row of a table that makes up half of a small encoder. Names of people and places, other scripts and forms
that a word and its ending spell as well are left out; what is asked for in pictures has its token still.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

FREQUENT = 4000
"""So many tokens are kept whatever they are: the vocabulary lists frequent ones first."""
ENDINGS = ("s", "es", "d", "ed", "ing", "ly")
PIECE = "##"


def is_english(token: str) -> bool:
    """Tell whether English text meets a token: ASCII and accented Latin letters, numbers up to two digits.

    English text meets no other scripts, and longer numbers are spelled by shorter ones.

    Example:
        >>> [is_english(token) for token in ("##ing", "é", "[CLS]", "42", "[unused7]", "я", "犬", "1945")]
        [True, True, True, True, False, False, False, False]
    """
    digits = token.removeprefix(PIECE)
    return (
        not token.startswith("[unused")
        and all(ord(character) < 0x250 for character in token)
        and not (digits.isdigit() and len(digits) > 2)
    )


def is_form(word: str, stems: Collection[str]) -> bool:
    """Tell whether a word is another one and an ending, which tokens of their own spell.

    Example:
        >>> [is_form(word, {"mushroom", "bake"}) for word in ("mushrooms", "baked", "mushroom", "glass")]
        [True, True, False, False]
    """
    return any(word.endswith(ending) and word.removesuffix(ending) in stems for ending in ENDINGS)


def choose_tokens(vocabulary: Sequence[str], dictionary: Collection[str], needed: Collection[str]) -> list[int]:
    """Choose the tokens that are kept.

    Args:
        vocabulary: All tokens, frequent ones first; those that go on a word begin with ``##``.
        dictionary: The words of English, in lower case.
        needed: Tokens that are kept wherever they stand: those that training captions are spelled with.

    Returns:
        Their places, ascending.

    Example:
        >>> vocabulary = ["[CLS]", "the", "##s", "##erly", "mango", "mangos", "dresden", "о"]
        >>> kept = choose_tokens(vocabulary, {"mango", "mangos"}, needed={"dresden"})
        >>> [vocabulary[place] for place in kept]  # all of them are among the 4,000 most frequent
        ['[CLS]', 'the', '##s', '##erly', 'mango', 'mangos', 'dresden']
    """
    english = [place for place, token in enumerate(vocabulary) if is_english(token)]
    stems = {vocabulary[place] for place in english} & set(dictionary)

    def kept(rank: int, token: str) -> bool:
        if rank < FREQUENT or token in needed:
            return True
        if token.startswith(PIECE):
            return len(token) <= len(PIECE) + 2  # letters and pairs of letters spell anything
        return token in dictionary and not is_form(token, stems)

    return [place for rank, place in enumerate(english) if kept(rank, vocabulary[place])]
