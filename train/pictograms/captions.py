"""Captions: from labels, tags and sentences of the sources to what people would type or say."""

from __future__ import annotations

import re
from collections.abc import Iterable

MASS = {
    "air", "bacon", "beef", "bread", "butter", "candy", "cheese", "chocolate", "clothes", "clothing", "coffee", "corn",
    "flour", "fog", "food", "fudge", "fruit", "garlic", "ginger", "grass", "gum", "hair", "ham", "honey", "ice", "jam",
    "jelly", "jewellery", "jewelry", "juice", "lava", "lettuce", "meat", "milk", "money", "music", "rain", "rice",
    "salt", "sand", "sauce", "smoke", "snow", "soup", "spaghetti", "spinach", "steam", "sugar", "sushi", "tea", "teeth",
    "water", "wine", "wood", "wool", "yoghurt", "broccoli", "celery", "asparagus", "cauliflower", "feet", "people",
    "lightning", "lemonade", "rowing", "sailing", "hockey", "judo", "tennis", "golf", "boxing", "dry", "ice skating",
    "fire", "wind", "confetti", "knitting", "underwear", "swimwear", "luggage", "baggage", "sake", "toast", "scissors",
}  # fmt: skip
"""Last words of labels that take no article."""

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
    if len(first) > 1 and not first[1:].islower() or first == "I":
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
    plural = last.endswith("s") and not last.endswith(("ss", "us", "is", "as", "os")) and last not in {"lens", "bus"}
    if plural or last in MASS or _ARTICLE.match(label) or not label[0].isalpha():
        return label
    first = label.split(" ")[0].lower()
    vowel = first[0] in "aeiou" and not re.match(r"(uni(?!n)|use|eu|one|ufo|uk|us$)", first)
    return f"{'an' if vowel or first.startswith(('hour', 'honest')) else 'a'} {label}"


def unique(label: str, captions: Iterable[str]) -> tuple[str, ...]:
    """Return the captions without repeats (ignoring case) and without the label itself."""
    seen, kept = {label.lower()}, []
    for caption in captions:
        if caption and caption.lower() not in seen:
            seen.add(caption.lower())
            kept.append(caption)
    return tuple(kept)
