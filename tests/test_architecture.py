"""The house rules of the code: who imports whom, what is imported at all, and how fast the package starts."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import unclip_mm

ROOT = Path(__file__).parent.parent
PACKAGE = Path(unclip_mm.__file__).parent

# From left to right: a module imports only from groups that stand before its own, or from its own package.
# The flow is inputs -> towers and processing -> encoder -> embeddings -> prior -> decoder -> pipeline -> commands.
GROUPS: list[set[str]] = [
    {"errors", "limits", "seeds"},
    {"checks", "gradients"},
    {"checkpoints", "diffusion", "distributed", "vectors"},
    {"embeddings"},
    {"inputs"},
    {"png", "normalizer", "memory"},
    {"data", "diagnostics", "metrics", "objectives"},
    {"towers"},
    {"processing"},
    {"encoder"},
    {"prior", "completion", "autoencoder", "decoder", "upsampler"},
    {"prompts", "sampling"},
    {"embedding_pipeline"},
    {"pipeline"},
    {"published"},
    {"commands"},
    {"cli"},
    {"__main__"},
]
RANK = {name: rank for rank, group in enumerate(GROUPS) for name in group}
LEAVES = set(
    "errors limits seeds checks gradients checkpoints diffusion distributed vectors embeddings".split()  # noqa: SIM905
)
TRAINING_ONLY = {"data", "diagnostics", "metrics", "objectives"}

CORE = {"torch", "diffusers", "transformers", "safetensors", "numpy", "PIL", "tqdm"}
INSIDE_FUNCTIONS = CORE | {"huggingface_hub", "soundfile", "soxr", "tokenizers"}
FORBIDDEN = {
    *("torchvision", "torchaudio", "torchcodec", "librosa", "timm", "open_clip", "torch_fidelity"),
    *("dill", "cloudpickle", "joblib", "shelve", "marshal", "mock"),
}
HEAVY = CORE | {"scipy", "gradio", "accelerate", "soundfile", "soxr"}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def everything() -> list[Path]:
    folders = ("unclip_mm", "train", "demo", "benchmarks", "tests")
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports(nodes: ast.AST) -> Iterator[str]:
    """Dotted names that are imported; for ``from a import b`` both ``a`` and ``a.b``."""
    for node in ast.walk(nodes):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_type_checking(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def imports_at_start(module: ast.Module) -> set[str]:
    found: set[str] = set()
    for node in module.body:
        if not (is_type_checking(node) or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)):
            found |= set(imports(node))
    return found


def top_level(names: set[str]) -> set[str]:
    return {name.split(".")[0] for name in names} - set(sys.stdlib_module_names) - {"unclip_mm"}


def own(path: Path) -> str:
    """The name of a module or package directly under unclip_mm."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def own_folder(path: Path) -> str:
    """``unclip_mm``, ``train``, ``demo``, ``benchmarks`` or ``tests``."""
    return path.relative_to(ROOT).parts[0]


def shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", modules(), ids=shown)
def test_imports_point_to_the_left(path: Path) -> None:
    name = own(path)
    if name == "__init__":
        return
    assert name in RANK, f"{name} has no place in the flow; give it one in {Path(__file__).name}"
    used = {other.split(".")[1] for other in imports(tree(path)) if other.startswith("unclip_mm.")}
    used = {other for other in used if other in RANK and other != name}
    to_the_right = {other for other in used if RANK[other] >= RANK[name]}
    assert not to_the_right, f"{name} imports {sorted(to_the_right)}, which stand to its right"
    if name not in TRAINING_ONLY | {"published"}:
        assert not used & TRAINING_ONLY, f"{name} makes pictures and needs nothing of {sorted(used & TRAINING_ONLY)}"


@pytest.mark.parametrize("path", modules(), ids=shown)
def test_library_needs_only_its_dependencies(path: Path) -> None:
    module = tree(path)
    at_start, all_imports = top_level(imports_at_start(module)), top_level(set(imports(module)))
    assert at_start <= CORE
    assert all_imports <= INSIDE_FUNCTIONS
    if own(path) in LEAVES:
        assert at_start <= {"torch", "safetensors", "numpy"}


@pytest.mark.parametrize("path", everything(), ids=shown)
def test_nothing_forbidden_is_imported(path: Path) -> None:
    names = set(imports(tree(path)))
    assert not {name.split(".")[0] for name in names} & FORBIDDEN
    assert "unittest.mock" not in names  # tests run the real classes
    assert "pickle" not in names or own_folder(path) != "unclip_mm"


@pytest.mark.parametrize("path", [path for path in everything() if own_folder(path) != "tests"], ids=shown)
def test_nothing_is_unpickled(path: Path) -> None:
    for node in ast.walk(tree(path)):
        if not isinstance(node, ast.Call):
            continue
        called, where = ast.unparse(node.func), f"line {node.lineno}"
        given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        assert not called.startswith("pickle.") and called != "torch.save", where
        assert given.get("allow_pickle", "False") == "False", where
        if called == "torch.load":  # weights that others publish
            assert own_folder(path) == "train" and given.get("weights_only") == "True", where


def test_demo_and_training_do_not_need_each_other() -> None:
    for folder, other in (("demo", "train"), ("train", "demo")):
        for path in (ROOT / folder).rglob("*.py"):
            assert other not in {name.split(".")[0] for name in imports(tree(path))}, shown(path)


def test_media_are_opened_by_inputs_alone() -> None:
    openers = {"Image.open", "soundfile.read", "soundfile.SoundFile", "soundfile.info", "wave.open"}
    for path in modules():
        if own(path) != "inputs":
            calls = {ast.unparse(node.func) for node in ast.walk(tree(path)) if isinstance(node, ast.Call)}
            assert not calls & (openers - {"wave.open"} if own(path) == "data" else openers), shown(path)


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)


@pytest.mark.parametrize("module", ["unclip_mm", "unclip_mm.cli", "unclip_mm.errors"])
def test_start_imports_nothing_heavy(module: str) -> None:
    found = run_python(f"import sys, {module}; print(*({HEAVY!r} & set(sys.modules)))").stdout.split()
    assert not found


@pytest.mark.parametrize("code", ["import unclip_mm", "from unclip_mm.cli import main; main(['--help'])"])
def test_start_takes_less_than_300_ms(code: str) -> None:
    resource = pytest.importorskip("resource")

    def seconds(program: str) -> float:
        """Processor time, which does not depend on what else the machine does."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        run_python(program)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(seconds(code) for _ in range(3)) - min(seconds("pass") for _ in range(3)) < 0.3


def test_public_names_are_there() -> None:
    for name in unclip_mm.__all__:
        assert getattr(unclip_mm, name).__name__ == name
        assert name in dir(unclip_mm)
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = unclip_mm.no_such_name
