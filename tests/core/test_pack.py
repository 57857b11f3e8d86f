"""Small copies of runs: half the space, all but the same forecasts."""

import numpy as np
import pytest
import torch
from command_line import run_command
from small_runs import contents

from sttrans_core.forecaster import load_run
from sttrans_core.runs import RunError, RunFolder


def test_a_packed_run_forecasts_almost_the_same_from_half_the_space(trained, series, tmp_path):
    before = contents(trained.run_dir)
    printed = run_command("pack", "--run-dir", trained.run_dir, "--output-dir", tmp_path / "small")
    assert contents(trained.run_dir) == before
    files = {each.name for each in (tmp_path / "small").iterdir()}
    wanted = {"config.json", "data.json", "environment.json", "history.jsonl", "model.safetensors"}
    assert files == wanted
    assert f"evaluate --write --run-dir {tmp_path / 'small'}" in printed
    sizes = [
        (folder / "model.safetensors").stat().st_size
        for folder in (trained.run_dir, tmp_path / "small")
    ]
    assert 0.4 < sizes[1] / sizes[0] < 0.7
    loaded = load_run(tmp_path / "small")
    whole, packed = (each.forecast(series)["forecast"].values for each in (trained, loaded))
    # 11 bits of each weight are left, so that values of some 50 mph move by hundredths.
    assert np.abs(whole - packed).max() < 0.1
    assert not np.array_equal(whole, packed)
    assert np.allclose(loaded.bands, trained.bands, rtol=2**-8)


def test_bands_in_small_units_are_packed_too(run_copy, tmp_path):
    folder = RunFolder(run_copy)
    tensors = folder.load_tensors("model.safetensors")
    tensors["bands"] = torch.full_like(tensors["bands"], 1e6)  # above what 16 bits of a weight hold
    folder.save_tensors("model.safetensors", tensors, config=folder.config())
    folder.pack(tmp_path / "small")
    bands = load_run(tmp_path / "small").bands
    assert bands is not None
    assert np.allclose(bands, 1e6, rtol=2**-8)


def test_a_packed_run_goes_nowhere_where_something_is(run_copy, tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match=r"new or empty folder; got .*there, which holds files\."):
        RunFolder(run_copy).pack(tmp_path / "there")
    assert [each.name for each in (tmp_path / "there").iterdir()] == ["notes.txt"]


def test_an_unfinished_run_is_not_packed(run_copy, tmp_path):
    (run_copy / "model.safetensors").unlink()
    with pytest.raises(RunError, match=r"must hold model\.safetensors; got .* Finish the training"):
        RunFolder(run_copy).pack(tmp_path / "small")
    assert not (tmp_path / "small").exists()
