"""What each objective does to three small clouds on a sphere: ``python -m benchmarks.objective_clouds``.

Twelve things in three modalities start as three clouds apart, each thing somewhere in its modality's cloud. Every
objective moves the points themselves, with Adam. Writes ``objectives.png``, where they end, and ``objectives.gif``, how
they get there; both in Hammer's projection of the sphere. Takes about a minute.
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import tyro
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from unclip_mm.diagnostics import centroid_gap, pairwise_cosines
from unclip_mm.embeddings import Embeddings
from unclip_mm.metrics import recall_at_k
from unclip_mm.objectives import OBJECTIVES, build_objective

NAMES = ("image", "text", "audio")
COLOURS = ("#4477aa", "#ee6677", "#228833")
THINGS = 12


def start(seed: int = 0) -> Tensor:
    """Three clouds (THINGS, 3, 3) on the sphere; a thing lies in the same place of each cloud, roughly."""
    generator = torch.Generator().manual_seed(seed)
    centers = F.normalize(torch.tensor([[1.0, -0.9, 0.5], [1.0, 1.0, 0.4], [1.0, 0.1, -1.0]]), dim=-1)
    place = 0.35 * torch.randn(THINGS, 1, 3, generator=generator)
    return F.normalize(centers + place + 0.1 * torch.randn(THINGS, 3, 3, generator=generator), dim=-1)


def paths(name: str, steps: int) -> list[Tensor]:
    """The points after each step of descending one objective, the first before any."""
    raw = start().requires_grad_()
    anchored = {"anchor": "image"} if name in ("unialign", "gram", "triangle") else {}
    objective = build_objective(name, **anchored)
    optimizer = torch.optim.Adam([raw], lr=0.02)
    frames = [F.normalize(raw.detach(), dim=-1)]
    for _ in range(steps):
        terms = objective(Embeddings.from_dict({m: raw[:, k] for k, m in enumerate(NAMES)}))
        optimizer.zero_grad()
        torch.stack([value for key, value in terms.items() if key.endswith("_loss")]).sum().backward()
        optimizer.step()
        frames.append(F.normalize(raw.detach(), dim=-1))
    return frames


def draw(axis: Any, points: Tensor, title: str) -> None:
    """Draw one sphere, with lines between what is one thing, and its figures."""
    embeddings = Embeddings.from_dict({name: points[:, k] for k, name in enumerate(NAMES)})
    gap, cosine = (list(f(embeddings).values()) for f in (centroid_gap, pairwise_cosines))
    labels = list(range(THINGS))
    found = recall_at_k(points[:, 1], points[:, 0], labels, labels, (1,))[1]
    longitude, latitude = torch.atan2(points[..., 1], points[..., 0]), points[..., 2].clamp(-1, 1).asin()
    for x, y in zip(longitude, latitude, strict=True):
        if float(x.max() - x.min()) < 3.1:  # not around the back of the sphere
            axis.plot([*x, x[0]], [*y, y[0]], color="#cccccc", linewidth=0.7, zorder=1)
    for k, name in enumerate(NAMES):
        axis.scatter(longitude[:, k], latitude[:, k], s=14, color=COLOURS[k], label=name, zorder=2)
    figures = f"gap {sum(gap) / 3:.2f}, cosine of partners {sum(cosine) / 3:.2f}, R@1 {found:.2f}"
    axis.set_title(f"{title}\n{figures}", fontsize=8)
    axis.set_xticks([])
    axis.set_yticks([])


def picture(frames: dict[str, Tensor]) -> Image.Image:
    """All spheres side by side."""
    figure = Figure(figsize=(12.0, 4.4), layout="constrained")
    for position, (title, points) in enumerate(frames.items()):
        axis = figure.add_subplot(2, 4, position + 1, projection="hammer")
        draw(axis, points, title)
    handles, names = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    file = BytesIO()
    figure.savefig(file, dpi=90)
    return Image.open(file).convert("RGB")


def main(output: Path = Path("docs/pictures"), steps: int = 300, frames: int = 24) -> None:
    """Write the picture and the animation.

    Args:
        output: The folder.
        steps: Of each objective.
        frames: Of the animation.
    """
    moved = {name: paths(name, steps) for name in OBJECTIVES}
    output.mkdir(parents=True, exist_ok=True)

    def at(step: int) -> dict[str, Tensor]:
        return {"at the start": start(), **{name: points[step] for name, points in moved.items()}}

    picture(at(steps)).save(output / "objectives.png", optimize=True)
    shown = [round(steps * (k / (frames - 1)) ** 2) for k in range(frames)]  # most happens early
    images = [picture(at(step)).resize((810, 297)).quantize(64) for step in shown]
    images[0].save(
        output / "objectives.gif",
        save_all=True,
        append_images=images[1:],
        duration=[200] * (frames - 1) + [2500],
        loop=0,
    )
    print(output / "objectives.png", output / "objectives.gif")


if __name__ == "__main__":
    tyro.cli(main)
