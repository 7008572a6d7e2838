"""The options that say what a picture or an embedding is made from, and their checks. Standard library only."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

from unclip_mm.checkpoints import DEFAULT_CHECKPOINT
from unclip_mm.commands.checks import MODALITIES, Once, printable
from unclip_mm.errors import InputError

HELP = {
    "text": ("WORDS", "words that say what to show"),
    "audio": ("FILE", "a voice or a sound (WAV, FLAC, OGG, MP3 ...), up to 60 seconds"),
    "sketch": ("FILE", "a line drawing, dark on white or on transparent"),
    "image": ("FILE", "a picture to vary"),
}

DTYPES = ("float32", "bfloat16", "float16")


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
    """Add ``--text``, ``--audio``, ``--sketch``, ``--image`` and ``--input NAME=FILE``; repeated, they make a batch."""
    group = parser.add_argument_group("prompt", "one or more of these; repeat an option to make a batch")
    for modality in MODALITIES:
        metavar, text = HELP[modality]
        group.add_argument(f"--{modality}", metavar=metavar, action="append", default=[], help=text)
    group.add_argument(
        "--input",
        metavar="NAME=FILE",
        action="append",
        default=[],
        help="another modality of your own model: a .npy or .safetensors file with a vector or a sequence",
    )


def add_common_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--checkpoint``, ``--json`` and ``--debug``."""
    add_checkpoint_option(parser)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--debug", action="store_true", help="show warnings, and the stack trace of an error")


def add_checkpoint_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--checkpoint``."""
    parser.add_argument(
        "--checkpoint",
        action=Once,
        metavar="X",
        default=DEFAULT_CHECKPOINT,
        help="a bundled name, a folder, or a hub id (default: %(default)s)",
    )


def add_dtype_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--dtype``."""
    parser.add_argument(
        "--dtype",
        action=Once,
        choices=DTYPES,
        default=DTYPES[0],
        help="the numbers to compute with; bfloat16 is faster where the processor has it (default: %(default)s)",
    )


def read_prompt(args: argparse.Namespace) -> Prompt:
    """The prompt on the command line.

    Raises:
        InputError: the options were repeated a number of times that does not fit together, or ``--input`` is no pair.
    """
    values = {modality: list(getattr(args, modality)) for modality in MODALITIES if getattr(args, modality)}
    for pair in args.input:
        name, equals, file = pair.partition("=")
        if not (name.isidentifier() and equals and file):
            raise InputError(f"--input: {printable(pair)!r} is not NAME=FILE; write for example imu=walk.npy")
        if name in MODALITIES:
            raise InputError(f"--input: {name} has an option of its own; give it with --{name}")
        values.setdefault(name, []).append(file)
    prompt = Prompt(values)
    for modality, given in values.items():
        if len(given) not in (1, prompt.rows):
            times = f"given {len(given)} times beside {prompt.rows} of another input"
            raise InputError(f"{option(modality)}: {times}; give as many or one")
    return prompt


def option(modality: str) -> str:
    """The option that a modality is given with.

    Example:
        >>> option("text"), option("imu")
        ('--text', '--input imu')
    """
    return f"--{modality}" if modality in MODALITIES else f"--input {modality}"


def read_negative(args: argparse.Namespace) -> Prompt:
    """What the pictures are to be led away from; how many prompts there are is for :func:`check_negative`."""
    given = {modality: getattr(args, f"negative_{modality}") for modality in MODALITIES}
    return Prompt({modality: values for modality, values in given.items() if values})


def check_negative(negative: Prompt, rows: int) -> None:
    """Check that there is one for all prompts, or one a prompt.

    Example:
        >>> check_negative(Prompt({"text": ["red", "blue"]}), 3)
        Traceback (most recent call last):
        ...
        unclip_mm.errors.InputError: --negative-text: 2 for 3 prompts; give one for all of them, or one a prompt
    """
    for modality, values in negative.values.items():
        if len(values) not in (1, rows):
            raise InputError(
                f"--negative-{modality}: {len(values)} for {rows} prompts; give one for all of them, or one a prompt"
            )
