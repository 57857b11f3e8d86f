"""Training shared by two processes: the same losses and weights as in one."""

import json
import subprocess
import sys

import pytest
import torch
from command_line import run_command
from safetensors.torch import load_file
from small_runs import rhythm

from sttrans_core.training.processes import is_first_process


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Train alone, in two processes that Fabric starts, and in two that torchrun starts."""
    folder = tmp_path_factory.mktemp("processes")
    # 183 windows: 128 for training, of which the last batch of 25 leaves one process with 12 and
    # the other with 13; 18 for validation, 37 for the test. Without random numbers in between.
    rhythm(steps=206, nodes=5).to_netcdf(folder / "small.nc", engine="h5netcdf")
    command = [
        *("train", "--dataset", str(folder / "small.nc")),
        *("--set", "train.epochs=2", "--set", "train.batch_size=51", "--set", "train.device=cpu"),
        *("--set", "model.dropout=0.0", "--set", "train.gaps=0.0", "--set", "train.noise=0.0"),
    ]
    run_command(*command, "--run-dir", folder / "one")
    two = ["--set", "train.num_processes=2"]
    torchrun = ["-m", "torch.distributed.run", "--nproc-per-node=2", "--no-python", sys.executable]
    told = {}
    for name, start, more in (("fabric", [], two), ("torchrun", torchrun, [])):
        run_dir = ["--run-dir", str(folder / name)]
        done = subprocess.run(
            [sys.executable, *start, "-m", "sttrans_core", *command, *run_dir, *more],
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        told[name] = done.stdout
    return folder, told


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fabric", "torchrun"])
def test_two_processes_train_as_one(name, runs):
    folder, told = runs
    rows, alone = (
        [json.loads(line) for line in (folder / run / "history.jsonl").read_text().splitlines()]
        for run in (name, "one")
    )
    assert len(rows) == len(alone) == 2
    for row, other in zip(rows, alone, strict=True):
        for figure in ("train_loss", "val_mae", "val_rmse"):
            assert row[figure] == pytest.approx(other[figure], rel=1e-4)
    weights, others = (load_file(folder / run / "model.safetensors") for run in (name, "one"))
    assert weights.keys() == others.keys()
    assert all(torch.allclose(weights[key], others[key], atol=1e-3) for key in weights)
    # One of them reports and scores.
    assert told[name].count("epoch   2") == 1
    assert told[name].count("ST-Trans full") == 1
    assert (folder / name / "scores.csv").exists()


def test_a_process_alone_is_the_first():
    assert is_first_process()
