"""The rooms of the package and the arrows between them: who may import whom."""

import ast
from pathlib import Path

import pytest

import docendo

ROOT = Path(docendo.__file__).parent

GROUND = {"errors", "files", "numbers", "splitmix", "core"}
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "files": {"errors"},
    "numbers": set(),
    "splitmix": set(),
    "core": {"errors"},
    "losses": GROUND,
    "networks": GROUND,
    "branches": GROUND | {"networks"},
    "methods": GROUND | {"losses", "branches"},
    "data": GROUND,
    "metrics": GROUND,
    "engine": GROUND | {"data", "metrics"},
    "recipes": GROUND | {"losses", "networks", "branches", "methods", "data", "metrics", "engine"},
    "studies": GROUND | {"networks", "methods", "data", "engine", "recipes"},
    "reports": {"errors", "files", "numbers", "studies"},
    "cli": GROUND | {"losses", "networks", "methods", "data", "metrics", "engine", "recipes", "studies", "reports"},
}
FOREIGN_TO_CORE = {"torch", "numpy", "timm", "torchvision", "pydantic", "lightning_fabric", "cyclopts", "rich", "PIL"}


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def rooms_of(names: set[str]) -> set[str]:
    return {name.split(".")[1] for name in names if name.startswith("docendo.")} & set(MAY_IMPORT)


def files_of(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py")) if (ROOT / room).is_dir() else [ROOT / f"{room}.py"]


def test_every_room_is_known() -> None:
    rooms = {p.stem for p in ROOT.iterdir() if (p.suffix == ".py" or (p / "__init__.py").exists())}
    assert rooms - {"__init__", "__main__"} == set(MAY_IMPORT)


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_no_arrow_points_up(room: str) -> None:
    for path in files_of(room):
        wrong = rooms_of(imports(path)) - MAY_IMPORT[room] - {room}
        assert not wrong, f"{path.relative_to(ROOT)} imports {', '.join(sorted(wrong))}"


def test_core_needs_torch_alone() -> None:
    used = {name.split(".")[0] for name in imports(ROOT / "core.py")}
    assert used & FOREIGN_TO_CORE == {"torch"}


def test_methods_know_no_machine() -> None:
    for path in (ROOT / "methods").glob("*.py"):
        if path.stem not in ("__init__", "settings"):
            text = path.read_text()
            assert not imports(path) & {"torch.distributed", "torch.utils.data", "lightning_fabric"}
            assert not any(word in text for word in (".to(", "cuda", "device", "DataLoader", "rank")), path
            assert len(text.splitlines()) < 120, f"{path.name} is longer than a screen and a half"
