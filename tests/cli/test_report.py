"""`docendo report` and `docendo cite` as they are typed."""

import shutil
from pathlib import Path

from tests.cli.conftest import Trained, call


def test_a_run_is_measured_and_reported(trained: Trained, tmp_path: Path) -> None:
    shutil.copytree(trained.folder, tmp_path / "run")
    said = call("report", "run", "--tables")
    assert said.code == 0
    assert "Measuring 1 run on the test images" in said.out
    assert "The report: run/report.html" in said.out
    assert "The tables: run/tables" in said.out
    assert (tmp_path / "run" / "measures.json").exists()
    assert 'id="pictures"' in (tmp_path / "run" / "report.html").read_text()
    assert (tmp_path / "run" / "tables" / "results.csv").exists()
    again = call("report", "run", "--out", "elsewhere")
    assert "Measuring" not in again.out
    assert (tmp_path / "elsewhere" / "report.html").exists()
    assert "Measuring 1 run" in call("report", "run", "--latency").out


def test_measuring_can_be_left_out(trained: Trained, tmp_path: Path) -> None:
    shutil.copytree(trained.folder, tmp_path / "run")
    said = call("report", "run", "--no-measure")
    assert said.code == 0
    assert "Measuring" not in said.out
    assert not (tmp_path / "run" / "measures.json").exists()


def test_a_run_that_cannot_be_measured_is_reported_without(trained: Trained, tmp_path: Path) -> None:
    shutil.copytree(trained.folder, tmp_path / "run")
    (tmp_path / "run" / "student.safetensors").write_bytes(b"no weights")
    said = call("report", "run")
    assert said.code == 0
    assert "run not measured: " in said.out
    assert (tmp_path / "run" / "report.html").exists()


def test_nothing_to_report_is_one_line() -> None:
    said = call("report", "nowhere")
    assert said.code == 2
    assert said.err == "docendo: nowhere is no folder: give that of a run or of a study\n"


def test_sources_of_a_run_and_of_methods(trained: Trained) -> None:
    said = call("cite", str(trained.folder), "dkd")
    assert said.code == 0
    assert said.out.startswith("% methods\n@article{hinton2015distilling,")
    for key in ("zhao2022decoupled", "alpaydin1998optical", "he2016deep"):
        assert f"{{{key}," in said.out
    assert call("cite", "dkdd").err.startswith('docendo: "dkdd" is neither a folder nor a method; did you mean')
    assert call("cite").code == 2
