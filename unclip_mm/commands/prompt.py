"""The options that say what a picture or an embedding is made from, and their checks. Standard library only."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, NamedTuple

from unclip_mm.checkpoints import DEFAULT_CHECKPOINT
from unclip_mm.commands.checks import MODALITIES, check_file, check_text
from unclip_mm.errors import InputError

HELP = {
    "text": ("WORDS", "words that say what to show"),
    "audio": ("FILE", "a voice or a sound (WAV, FLAC, OGG, MP3 ...), up to 60 seconds"),
    "sketch": ("FILE", "a line drawing, dark on white or on transparent"),
    "image": ("FILE", "a picture to vary"),
}


class Prompt(NamedTuple):
    """What was asked for: for each modality a list of values, each list of one length or of length 1."""

    values: dict[str, list[str]]

    @property
    def rows(self) -> int:
        """How many prompts there are; values that were given once are shared by all of them."""
        return max((len(values) for values in self.values.values()), default=0)

    def describe(self, row: int) -> dict[str, str]:
        """One prompt in a form for metadata: texts as they are, files by their name without folders.

        Example:
            >>> Prompt({"text": ["a cat", "a dog"], "audio": ["sounds/purr.wav"]}).describe(1)
            {'text': 'a dog', 'audio': 'purr.wav'}
        """
        described = {}
        for modality, values in self.values.items():
            value = values[row if len(values) > 1 else 0]
            described[modality] = value if modality == "text" else Path(value).name
        return described


def add_prompt_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--text``, ``--audio``, ``--sketch`` and ``--image``; each may be repeated to make a batch."""
    group = parser.add_argument_group("prompt", "one or more of these; repeat an option to make a batch")
    for modality in MODALITIES:
        metavar, text = HELP[modality]
        group.add_argument(f"--{modality}", metavar=metavar, action="append", default=[], help=text)


def add_common_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--checkpoint``, ``--json`` and ``--debug``."""
    add_checkpoint_option(parser)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--debug", action="store_true", help="show warnings, and the stack trace of an error")


def add_checkpoint_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--checkpoint``."""
    parser.add_argument(
        "--checkpoint",
        metavar="X",
        default=DEFAULT_CHECKPOINT,
        help="a bundled name, a folder, or a hub id (default: %(default)s)",
    )


def check_prompt(args: argparse.Namespace) -> Prompt:
    """The prompt on the command line, every text and file checked as far as possible without decoding it.

    Raises:
        InputError: an empty text, a missing, empty or unreadable file, or counts that do not fit together.
    """
    values: dict[str, list[str]] = {}
    for modality in MODALITIES:
        given = getattr(args, modality)
        if given:
            values[modality] = [_check_value(modality, f"--{modality}", value) for value in given]
    prompt = Prompt(values)
    for modality, given in values.items():
        if len(given) not in (1, prompt.rows):
            raise InputError(
                f"--{modality}: given {len(given)} times beside {prompt.rows} of another input; give as many or one"
            )
    return prompt


def check_negative(args: argparse.Namespace) -> dict[str, str]:
    """What the picture should be led away from, by modality."""
    found: dict[str, str] = {}
    for modality in MODALITIES:
        value: Any = getattr(args, f"negative_{modality}")
        if value is not None:
            found[modality] = _check_value(modality, f"--negative-{modality}", value)
    return found


def _check_value(modality: str, option: str, value: str) -> str:
    return check_text(option, value) if modality == "text" else str(check_file(option, value))
