"""The page started with everything that it can be given: several models, training pictures, language models."""

from __future__ import annotations

import asyncio
import io
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("gradio", reason="the page needs the extra 'demo'")


@pytest.fixture(scope="module")
def url(pipeline_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a page with two models, the synthetic world as training pictures, and tools."""
    from demo.app import build_page, launch
    from demo.studio import Studio
    from demo.training_pictures import TrainingPictures
    from unclip_mm.commands.loading import load_pipeline
    from unclip_mm.data.synthetic import make_synthetic_world

    pytest.importorskip("mcp", reason="needs the extra 'mcp'")
    folder = tmp_path_factory.mktemp("world")
    make_synthetic_world(folder, image_size=32, variations=1)
    studios = [Studio(load_pipeline(str(pipeline_folder)), str(pipeline_folder)) for _ in range(2)]
    patch = pytest.MonkeyPatch()
    patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("cache")))
    page = build_page(studios, TrainingPictures.from_manifest(folder, studios[0]))
    _, address, _ = launch(page, prevent_thread_lock=True, quiet=True, mcp_server=True)
    yield address
    page.close()
    patch.undo()


@pytest.fixture(scope="module")
def client(url: str, tmp_path_factory: pytest.TempPathFactory) -> Any:
    from gradio_client import Client

    return Client(url, verbose=False, download_files=str(tmp_path_factory.mktemp("downloads")))


def pixels(picture: dict[str, Any]) -> np.ndarray:
    return np.asarray(Image.open(picture["image"]).convert("RGB"))


def test_models_side_by_side_show_the_same_seeds(client: Any) -> None:
    first, second = client.predict(api_name="/side_by_side", text="a red circle", seed=7)
    assert [p["caption"] for p in first] == [p["caption"] for p in second] == [f"seed {7 + i}" for i in range(4)]
    assert all((pixels(a) == pixels(b)).all() for a, b in zip(first, second, strict=True))  # it is the same model twice
    assert (pixels(first[0]) != pixels(first[1])).any()


def test_training_pictures_near_a_prompt_are_shown(client: Any) -> None:
    from gradio_client import handle_file

    from demo import samples

    _, neighbours = client.predict(api_name="/look_up", image=handle_file(samples.IMAGES[0]))
    assert len(neighbours) == 6
    cosines = [float(one["caption"].rsplit("(", 1)[1].rstrip(")")) for one in neighbours]
    assert cosines == sorted(cosines, reverse=True)
    assert all(pixels(one).shape == (32, 32, 3) for one in neighbours)


def test_language_models_are_offered_the_page_as_tools(url: str) -> None:
    from mcp import ClientSession
    from mcp.client.streamable_http import streamable_http_client

    async def ask() -> tuple[dict[str, str], Any]:
        async with (
            streamable_http_client(f"{url}gradio_api/mcp/") as (read, write, *_),
            ClientSession(read, write) as it,
        ):
            await it.initialize()
            tools = {tool.name: tool.description or "" for tool in (await it.list_tools()).tools}
            name = next(name for name in tools if name.endswith("generate"))
            return tools, await it.call_tool(name, {"text": "a red circle", "count": 1, "seed": 3, "keep_seed": True})

    tools, answer = asyncio.run(ask())
    assert len(tools) >= 6 and any("Make pictures" in about for about in tools.values())
    assert not answer.isError, answer
    told = " ".join(part.text for part in answer.content)
    [address] = re.findall(r"'url': '(http[^']+)'", told)
    with urllib.request.urlopen(address) as reply, Image.open(io.BytesIO(reply.read())) as picture:
        assert picture.format == "PNG" and picture.size == (32, 32)
    assert "seed 3" in told
