"""The README's Python runs as it stands, in one go from top to bottom."""

import re
from pathlib import Path

import pytest

from docendo.methods import METHODS

README = (Path(__file__).parent.parent / "README.md").read_text()


def test_python_blocks_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len(blocks) == 3
    namespace: dict[str, object] = {"__name__": "__main__"}
    for block in blocks:
        exec(compile(block, "README.md", "exec", dont_inherit=True), namespace)
    assert (tmp_path / "runs" / "mutual" / "student.safetensors").exists()
    assert (tmp_path / "runs" / "python" / "results.json").exists()


def test_every_method_is_in_the_table() -> None:
    for method in METHODS:
        assert f"| `{method}` |" in README
        assert f"docs/methods/{method}.md" in README
