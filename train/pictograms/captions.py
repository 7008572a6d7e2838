"""Captions: from labels, tags and sentences of the sources to what people would type or say."""

from __future__ import annotations

import re
from collections.abc import Iterable

MASS = set(
    """
    air asparagus bacon baggage beef boxing bread broccoli butter candy cauliflower celery cheese chocolate clothes
    clothing coffee confetti corn dry feet fire flour fog food fruit fudge garlic ginger golf grass gum hair ham
    hockey honey ice jam jelly jewellery jewelry judo juice knitting lava lemonade lettuce lightning luggage meat
    milk money music pain people pottery rain rice rowing sailing sake salt sand sauce scissors smoke snow soup
    spaghetti spinach steam sugar sushi swimwear tea teeth tennis toast underwear water wind wine wood wool yoga yoghurt
    """.split()  # noqa: SIM905
)
"""Last words of labels that take no article."""

SINGULAR = {"atlas", "canvas", "christmas", "claus", "gas", "lens", "species"}
"""Words that end like plurals and are none."""
PLURAL = {"two", "three", "four", "five", "several", "half", "women", "men", "people", "children"}
"""First words that take no article."""
THINGS = {"building", "ceiling", "drawing", "king", "painting", "ring", "sling", "string", "wedding", "wing"}
"""Words in -ing that are things; others are doings and take no article."""

_ARTICLE = re.compile(r"^(an?|some|the|our|my|your) ", re.IGNORECASE)


def clean(text: str) -> str:
    """Return one line without quotes, doubled spaces and final punctuation.

    Example:
        >>> clean(" A  “Fuji” apple. ")
        'A Fuji apple'
    """
    text = re.sub(r"[“”\"«»]", "", text).replace("’", "'").replace("‘", "'")
    return re.sub(r"\s+", " ", text).strip().rstrip(".!?;,:…").strip()


def lower_first(text: str) -> str:
    """Lower the first letter, unless the first word is an acronym or a single capital.

    Example:
        >>> lower_first("A red apple"), lower_first("Red Gazania"), lower_first("UK post box")
        ('a red apple', 'red Gazania', 'UK post box')
    """
    first = text.split(" ", 1)[0]
    if (len(first) > 1 and not first[1:].islower()) or first == "I":
        return text
    return text[:1].lower() + text[1:]


def without_article(text: str) -> str:
    """Return the phrase without a leading article.

    Example:
        >>> without_article("A red apple"), without_article("some cherries"), without_article("ant")
        ('red apple', 'cherries', 'ant')
    """
    return _ARTICLE.sub("", text)


def with_article(label: str) -> str:
    """Return a noun phrase with 'a' or 'an' where English wants one.

    Example:
        >>> with_article("red apple"), with_article("octopus"), with_article("bananas"), with_article("milk")
        ('a red apple', 'an octopus', 'bananas', 'milk')
        >>> with_article("hour"), with_article("unicorn"), with_article("glass of milk")
        ('an hour', 'a unicorn', 'a glass of milk')
    """
    head = re.split(r" (?:of|with|in|on|and|for|from|over|without) ", label)[0]
    last = head.split(" ")[-1].lower()
    plural = last.endswith("s") and not last.endswith(("ss", "us", "is")) and last not in SINGULAR
    first = label.split(" ")[0].lower()
    bare = plural or last in MASS or first in PLURAL or re.search(r"clock$|-thirty$", label)
    doing = first == last and first.endswith("ing") and first not in THINGS
    if bare or doing or _ARTICLE.match(label) or not label[0].isalpha():
        return label
    vowel = first[0] in "aeiou" and not re.match(r"(uni(?!n)|use|eu|one|ufo|uk|ur|us$)", first)
    return f"{'an' if vowel or first.startswith(('hour', 'honest', 'x-')) else 'a'} {label}"


def unique(label: str, captions: Iterable[str]) -> tuple[str, ...]:
    """Return the captions without repeats (ignoring case) and without the label itself."""
    seen, kept = {label.lower()}, []
    for caption in captions:
        if caption and caption.lower() not in seen:
            seen.add(caption.lower())
            kept.append(caption)
    return tuple(kept)
