"""`docendo evaluate` of several networks, and with `--probe`."""

import json

from tests.cli.conftest import SMALL, Trained, call


def test_an_ensemble(trained: Trained) -> None:
    files = [str(trained.folder / f"{role}.safetensors") for role in ("student", "teacher")]
    found = json.loads(call("evaluate", *files, "--data", "digits", "--json").out)
    assert found["weights"] == files
    said = call("evaluate", *files, "--data", "digits")
    assert said.out.startswith(f"{files[0]} + {files[1]} on 359 test images of digits\n  top-1  {found['top1']:.2%}\n")


def test_a_probe(trained: Trained) -> None:
    found = json.loads(call("evaluate", str(trained.folder), "--probe", "--data", "digits", "--json").out)
    said = call("evaluate", str(trained.folder), "--probe", "--data", "digits")
    file = trained.folder / "student.safetensors"
    assert said.out.startswith(f"Linear probe of 64 features of {file} on 359 test images of digits\n  top-1  ")
    assert f"{found['top1']:.2%}" in said.out
    assert f"C={found['C']:g}, the best of the validation images: {found['val_top1']:.2%}\n" in said.out


def test_what_a_probe_does_not_do(trained: Trained) -> None:
    folder = str(trained.folder)
    assert call("evaluate", folder, "--probe", "--split", "val").err == (
        "docendo: --probe reports the test images, but --split is val: leave --split out\n"
    )
    assert call("evaluate", folder, folder, "--probe").err == (
        "docendo: --probe looks at one network, but 2 are given: probe one at a time\n"
    )


def test_train_shows_ensembles_and_notes() -> None:
    words = ("train", "tolerant_teacher", *SMALL, "--set", "generations=1", "--set", "eta=0.7", "--out", "run")
    out = call(*words).out
    assert "\nEnsemble of generations 0 to 1: test top-1 " in out
    assert "warning: with eta=0.7 and K=5 a fitted first generation is as sure as" in " ".join(out.split())
    plan = call("explain", *words[1:-2])
    assert "warning: with eta=0.7 and K=5 a fitted first generation is as sure as" in " ".join(plan.out.split())
    assert json.loads(call("explain", "plain", "--json").out)["notes"] == []
