"""Files are read out of compiled Qt resources as they are, and what is none, or lacks them, is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from media_cases import compile_resource

from train.pictograms.qt_resources import read_resource
from unclip_mm.errors import InputError

FILES = {"sounds/cow.ogg": b"moo", "sounds/far/owl.ogg": b"hoo-hoo", "empty.txt": b""}


@pytest.mark.parametrize("version", [1, 2, 3])
@pytest.mark.parametrize("name", FILES)
def test_files_are_read_as_they_are(name: str, version: int, tmp_path: Path) -> None:
    path = tmp_path / "media.rcc"
    path.write_bytes(compile_resource(FILES, version=version))
    assert read_resource(path, name) == FILES[name]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sounds/dog.ogg", "has no file sounds/dog.ogg; there is cow.ogg, far beside it"),
        ("sounds/cow.ogg/bell", "has no file sounds/cow.ogg/bell; there is nothing beside it"),
        ("sounds/far", "sounds/far is a folder"),
    ],
)
def test_what_is_not_there_is_refused(name: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "media.rcc"
    path.write_bytes(compile_resource(FILES))
    with pytest.raises(InputError, match=message):
        read_resource(path, name)


def test_other_containers_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "media.rcc"
    whole = compile_resource(FILES)
    for content, message in (
        (b"", "not a compiled Qt resource"),
        (b"RIFF" + whole[4:], "not a compiled Qt resource"),
        (compile_resource(FILES, version=9), "not a compiled Qt resource of version 1 to 3"),
        (compile_resource(FILES, compressed=True), "or compressed"),
        (whole[:-60], "cut short"),
    ):
        path.write_bytes(content)
        with pytest.raises(InputError, match=message):
            read_resource(path, "sounds/cow.ogg")
