"""Result tables: what their numbers are, and which runs must not stand in one of them."""

import errno
import json
import re
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
from command_line import refused, run_command
from mock_runs import add_costs, add_damages, add_hits, add_quality, mock_run
from small_runs import contents

from sttrans_core.experiments import writing
from sttrans_core.experiments.records import RunRecord, read_runs
from sttrans_core.experiments.tables import ResultTable, result_tables
from sttrans_core.experiments.writing import to_markdown
from sttrans_core.runs import RunError, RunFolder

ROOT = Path(__file__).parents[2]


def _tables(root: Path, **options) -> dict[str, ResultTable]:
    records, unscored = read_runs([root])
    return {table.name: table for table in result_tables(records, unscored=unscored, **options)}


def _value(table: ResultTable, row: str, column: str, section: str = "MAE") -> pd.Series:
    frame = table.frame
    found = frame[
        (frame["row"] == row) & (frame["column"] == column) & (frame["section"] == section)
    ]
    assert len(found) == 1
    return found.iloc[0]


def test_a_comparison_gives_mean_and_spread_over_seeds(tmp_path):
    for seed, mae in enumerate((1.0, 2.0, 4.5)):
        mock_run(tmp_path, f"full-{seed}", seed=seed, mae=mae)
    mock_run(tmp_path, "stid", baseline="stid", mae=3.0)
    mock_run(tmp_path, "variant", variant="no_gate", mae=0.1)
    table = _tables(tmp_path)["table1"]
    ours = _value(table, "ST-Trans full", "15 min")
    # Three times 1, 2 and 4.5: mean 7.5; deviations -4.5, -1.5 and 6, whose squares sum to 58.5.
    assert ours["mean"] == pytest.approx(7.5)
    assert ours["sd"] == pytest.approx(np.sqrt(58.5 / 2))
    assert ours["seeds"] == 3
    assert len(ours["runs"].split()) == 3
    # Steps 1, 2 and 3 times the error, 2 times on average, and RMSE 10 above it.
    assert _value(table, "STID", "mean of 3 steps")["mean"] == pytest.approx(6.0)
    assert _value(table, "STID", "5 min", "RMSE")["mean"] == pytest.approx(13.0)
    assert np.isnan(_value(table, "STID", "5 min")["sd"])
    naive = _value(table, "last observed value", "5 min")
    assert (naive["mean"], naive["seeds"], naive["runs"]) == (9.0, 0, "")
    # Ablations have a table of their own.
    assert list(dict.fromkeys(table.frame["row"])) == [
        "ST-Trans full", "STID", "last observed value",
    ]  # fmt: skip
    assert list(dict.fromkeys(table.frame["section"])) == ["MAE", "RMSE", "MAPE"]


def test_data_that_rmse_ranks_is_in_the_second_table(tmp_path):
    mock_run(tmp_path, "taxi", dataset="taxi", units="trips", mae=1.0)
    mock_run(tmp_path, "weather", dataset="weather", units="K", mae=1.0, acc=0.9)
    tables = _tables(tmp_path)
    assert "table1" not in tables
    frame = tables["table2"].frame
    sections = frame.groupby("dataset", sort=False)["section"].unique().map(list).to_dict()
    assert sections == {"taxi": ["RMSE", "MAE", "R2"], "weather": ["RMSE", "MAE", "ACC"]}
    better = frame.drop_duplicates("section").set_index("section")["better"].to_dict()
    assert better == {"RMSE": "lower", "MAE": "lower", "R2": "higher", "ACC": "higher"}


def test_lead_times_are_chosen(tmp_path):
    mock_run(tmp_path, "run", mae=1.0)
    columns = _tables(tmp_path, leads=["10min", "1h"])["table1"].frame["column"]
    assert list(dict.fromkeys(columns)) == ["10 min", "mean of 3 steps"]
    with pytest.raises(ValueError, match=r"among those that were scored; got 2h with scores at 5"):
        _tables(tmp_path, leads=["2h"])
    with pytest.raises(ValueError, match=r"a number with its unit; got soon .*\. Write for exam"):
        _tables(tmp_path, leads=["soon"])


def test_variants_are_compared_seed_by_seed(tmp_path):
    for seed, (full, without) in enumerate(((1.0, 1.1), (2.0, 1.8), (4.0, 9.0))):
        if seed < 2:
            mock_run(tmp_path, f"full-{seed}", seed=seed, mae=full)
        mock_run(tmp_path, f"no_gate-{seed}", variant="no_gate", seed=seed, mae=without)
    table = _tables(tmp_path)["table3"]
    change = _value(table, "ST-Trans no_gate", "5 min", "MAE above that of full, same seeds")
    # +10 % and -10 %; the third seed has no partner. Their spread is sqrt(200 / 1).
    assert change["mean"] == pytest.approx(0.0)
    assert change["sd"] == pytest.approx(np.sqrt(200))
    assert change["seeds"] == 2
    assert _value(table, "ST-Trans no_gate", "5 min")["seeds"] == 3


def test_ablations_need_the_full_model_and_a_variant(tmp_path):
    mock_run(tmp_path, "a", variant="no_gate", mae=1.0)
    assert "table3" not in _tables(tmp_path)
    mock_run(tmp_path, "b", dataset="there", mae=1.0)
    assert "table3" not in _tables(tmp_path)


def test_damages_are_told_as_growth(tmp_path):
    for seed, growth in enumerate((1.1, 1.3)):
        run = mock_run(tmp_path, str(seed), seed=seed, mae=1.0 + seed)
        add_damages(run, {"missing": growth, "outage": 2.0, "noise": 1.0})
    table = _tables(tmp_path)["robustness"]
    growth = _value(table, "ST-Trans full", "20 % missing", "growth of MAE")
    assert growth["mean"] == pytest.approx(20.0)  # 10 % and 30 %
    assert growth["sd"] == pytest.approx(np.sqrt(200))
    naive = _value(table, "last observed value", "outages", "growth of MAE")
    assert (naive["mean"], naive["seeds"]) == (pytest.approx(100.0), 0)
    # Steps are 1, 2 and 3 times the error: 2 times on average, of errors 1 and 2.
    clean = _value(table, "ST-Trans full", "clean", "MAE, mean of 3 steps")
    assert clean["mean"] == pytest.approx(3.0)


def test_costs_stand_by_machine(tmp_path):
    for seed, milliseconds in enumerate((2.0, 4.0)):
        run = mock_run(tmp_path, str(seed), seed=seed, mae=1.0)
        add_costs(run, inference_ms=milliseconds, attention_flops=3_000_000)
    other = mock_run(tmp_path, "gpu", variant="no_gate", mae=1.0)
    add_costs(other, device="a GPU", threads=4, runs_at_once=2)
    table = _tables(tmp_path)["efficiency"]
    sections = list(dict.fromkeys(table.frame["section"]))
    assert sections == ["a processor, 1 thread", "a GPU, 4 threads, 2 runs at once"]
    assert _value(table, "ST-Trans full", "one forecast", sections[0])["mean"] == 3.0
    flops = _value(table, "ST-Trans full", "attention, counted", sections[0])
    assert (flops["mean"], flops["units"]) == (3.0, "MFLOP")
    assert set(table.frame[table.frame["section"] == sections[1]]["row"]) == {"ST-Trans no_gate"}


def test_hits_and_quality_stand_beside_chance(tmp_path):
    run = mock_run(tmp_path, "full", mae=1.0)
    add_hits(run, (0.9, 0.3), (30, 10))
    add_quality(run, covered_mass=(0.4, 0.1), hit_rate=(0.7, 0.2))
    table = _tables(tmp_path)["alignment"]
    hits = "hit rate, Top-8, congested"
    # 30 targets at 0.9 and 10 at 0.3: (27 + 3) / 40.
    assert _value(table, "ST-Trans full", "alignment", hits)["mean"] == pytest.approx(0.75)
    assert _value(table, "ST-Trans full", "chance", hits)["mean"] == 0.25
    # Of two segments with 50 targets each; in free traffic there is nothing to tell.
    assert _value(table, "ST-Trans full", "targets scored", hits)["mean"] == pytest.approx(0.4)
    assert _value(table, "ST-Trans full", "alignment", "covered mass")["mean"] == 0.4
    assert list(dict.fromkeys(table.frame["section"])) == [hits, "covered mass"]


def test_the_foot_tells_what_each_table_was_measured_on(tmp_path):
    run = mock_run(tmp_path, "full", mae=1.0, protocol="399 windows")
    add_hits(run, (0.9, 0.3), (30, 10))
    add_quality(run, deletion=(0.4, 0.1))
    add_damages(run, {})
    feet = {name: table.notes[1] for name, table in _tables(tmp_path).items()}
    assert "; 399 windows; " in feet["table1"]
    assert "; damages, seeds 0; " in feet["robustness"]
    hits, rest = "standard split, test part, 60 origins, Top-8", "standard split, test part, 24"
    assert f"; {hits}; {rest} origins; " in feet["alignment"]


def test_only_what_compares_models_has_a_best_and_only_what_is_independent_a_spread(tmp_path):
    for seed in range(2):
        run = mock_run(tmp_path, str(seed), seed=seed, mae=1.0)
        add_quality(run, jaccard=(0.4 + seed / 10, 0.1), cause_share=(0.2 + seed / 10, 0.1))
    table = _tables(tmp_path)["alignment"]
    shared = _value(table, "ST-Trans full", "alignment", "jaccard")
    assert shared["mean"] == pytest.approx(0.45)
    # Both are of the same pair, so that they say nothing of how much pairs differ.
    assert np.isnan(shared["sd"])
    assert shared["better"] == ""
    causes = _value(table, "ST-Trans full", "alignment", "cause share")
    assert causes["sd"] == pytest.approx(np.sqrt(0.005))
    assert causes["better"] == "higher"


def test_models_are_ranked(tmp_path):
    naive = {"last observed value": 9.0, "historical average": 1.0}
    mock_run(tmp_path, "full", mae=5.0, naive=naive)
    mock_run(tmp_path, "stid", baseline="stid", mae=2.0, naive=naive)
    frame = _tables(tmp_path)["table1"].frame
    assert list(dict.fromkeys(frame["row"])) == [
        "historical average", "STID", "ST-Trans full", "last observed value",
    ]  # fmt: skip


def test_presets_are_rows_of_their_own(tmp_path):
    mock_run(tmp_path, "a", mae=1.0)
    mock_run(tmp_path, "b", mae=2.0, preset="compact")
    rows = list(dict.fromkeys(_tables(tmp_path)["table1"].frame["row"]))
    assert rows == ["ST-Trans full (small)", "ST-Trans full (compact)", "last observed value"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"fingerprint": "beef"}, r"the same readings \(fingerprint\); got 'beef' in .*second and"),
        ({"changes": {"data": {"history_steps": 9}}}, r"same history_steps; got 9 in .*second and"),
        ({"changes": {"data": {"split": "paper"}}}, r"same split; got 'paper' in .*second and 'st"),
        ({"protocol": "per prefix"}, r"the same protocol; got 'per prefix' in .*second and 'stan"),
        ({"naive": {"last observed value": 8.0}}, r"the same scores in all runs of here; got a me"),
        ({"changes": {"train": {"epochs": 3}}}, r"seed only; got train.epochs=10 and 3 for ST-Tra"),
        ({"changes": {"train": {"seed": 0}}}, r"each seed once; got seed 0 twice for ST-Trans ful"),
    ],
)  # fmt: skip
def test_runs_that_differ_are_not_mixed(options, sentence, tmp_path):
    mock_run(tmp_path, "first", mae=1.0)
    mock_run(tmp_path, "second", mae=1.0, seed=1, **options)
    with pytest.raises(RunError, match=sentence):
        _tables(tmp_path)


def test_a_field_of_a_later_version_makes_another_row(tmp_path):
    # An older run was trained without what the field says, whatever its default is today.
    old = mock_run(tmp_path, "old", mae=1.0)
    mock_run(tmp_path, "new", mae=1.0, seed=1)
    fields = json.loads((old / "config.json").read_text())
    del fields["train"]["gaps"]
    (old / "config.json").write_text(json.dumps(fields))
    with pytest.raises(RunError, match=r"got train\.gaps=null and 0\.1"):
        _tables(tmp_path)


def test_other_damages_are_not_mixed(tmp_path):
    for seed in (0, 1):
        run = mock_run(tmp_path, str(seed), seed=seed, mae=1.0)
        add_damages(run, {"missing": 1.1}, seeds=seed)
    with pytest.raises(RunError, match=r"the same damages; got 'damages, seeds 1' in .*Measure"):
        _tables(tmp_path)


def test_markdown_marks_the_best_and_names_the_runs(tmp_path):
    for seed, mae in enumerate((1.0, 3.0)):
        mock_run(tmp_path, str(seed), seed=seed, mae=mae)
    mock_run(tmp_path, "stid", baseline="stid", mae=2.5)
    mock_run(tmp_path, "not-scored", seed=2, mae=1.0)
    (tmp_path / "not-scored" / "scores.csv").unlink()
    table = _tables(tmp_path)["table1"]
    lines = to_markdown(table).splitlines()
    start = lines.index("## here: MAE (mph)")
    assert lines[start + 2 : start + 7] == [
        "| | 5 min | 15 min | mean of 3 steps | n |",
        "|---|---|---|---|---|",
        "| ST-Trans full | **2.00** ± 1.41 | **6.00** ± 4.24 | **4.00** ± 2.83 | 2 |",
        "| STID | 2.50 | 7.50 | 5.00 | 1 |",
        "| last observed value | 9.00 | 27.00 | 18.00 | - |",
    ]
    hashes = [RunFolder(tmp_path / name).config().hash for name in ("0", "1", "stid")]
    runs = f"- Runs on here: ST-Trans full {hashes[0]} {hashes[1]}; STID {hashes[2]}."
    assert runs in lines
    about = "- here: A place; standard split; 12 steps seen, 3 forecast; data f00d."
    assert about in lines
    assert lines[-1] == f"- Not scored, and left out: {tmp_path / 'not-scored'}."


def test_counts_have_no_decimals_and_what_is_missing_a_dash(tmp_path):
    run = mock_run(tmp_path, "a", mae=np.nan)
    add_costs(run, parameters=1_234_567)
    text = "\n".join(to_markdown(table) for table in _tables(tmp_path).values())
    assert "| size (parameters) | one forecast (ms) | n |" in text
    assert "| ST-Trans full | 1,234,567 | 2.50 | 1 |" in text
    assert re.search(r"\| ST-Trans full \| - \| - \| - \|", text)


def test_the_command_writes_every_table_with_its_figure(tmp_path, monkeypatch):
    named = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    plot = EntryPoint("results", named["sttrans.figures"]["results"], "sttrans.figures")
    monkeypatch.setattr(
        "sttrans_core.experiments.writing.entry_points",
        lambda *, group, name: [plot] if (group, name) == (plot.group, plot.name) else [],
    )
    run = mock_run(tmp_path / "runs" / "deep", "a", mae=1.0)
    add_damages(run, {})
    add_costs(run)
    before = contents(tmp_path / "runs")
    output = tmp_path / "out"
    said = run_command("tables", tmp_path / "runs", "--output", output, "--lead", "10min")
    assert "1 runs, 0 more that were not scored" in said
    names = {path.name for path in output.iterdir()}
    tables = [f"{name}.{kind}" for name in ("table1", "robustness", "efficiency")
              for kind in ("csv", "md", "html")]  # fmt: skip
    assert names == {*tables, "plotly.min.js"}
    page = (output / "table1.html").read_text()
    assert re.findall(r'<script[^>]* src="([^"]+)"', page) == ["plotly.min.js"]
    written = pd.read_csv(output / "table1.csv", keep_default_na=False, na_values=[""])
    first = written.iloc[0]
    assert (first["row"], first["column"], first["mean"]) == ("ST-Trans full", "10 min", 2.0)
    assert contents(tmp_path / "runs") == before


def test_tables_that_cannot_all_be_written_leave_what_was_there(tmp_path, monkeypatch):
    def write_html(page: Path, **options: str) -> None:
        page.with_name(f"{options['include_plotlyjs']}.js").write_text("half of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    plot = Mock()
    plot.load()().write_html = write_html
    monkeypatch.setattr(writing, "entry_points", Mock(return_value=[plot]))
    mock_run(tmp_path / "runs", "a", mae=1.0)
    tables = list(_tables(tmp_path / "runs").values())
    output = tmp_path / "out"
    output.mkdir()
    (output / "table1.csv").write_text("of another day")
    with pytest.raises(OSError, match=f"No space left.*{output}"):
        writing.write_tables(tables, output)
    assert contents(output) == {"table1.csv": b"of another day"}


@pytest.mark.parametrize("lost", [slice(1, 2), slice(-1, None), slice(3, None)])
def test_scores_that_lack_a_step_are_no_scores(tmp_path, lost):
    run = mock_run(tmp_path, "a", mae=1.0)
    mock_run(tmp_path, "b", mae=2.0)
    lines = (run / "scores.csv").read_text().splitlines()
    del lines[lost]
    (run / "scores.csv").write_text("\n".join(lines) + "\n")
    with pytest.raises(RunError, match=f"must be a whole table, .* damaged one in {run}"):
        read_runs([tmp_path])


def test_without_runs_the_command_says_so(tmp_path, monkeypatch, capsys):
    line = refused(monkeypatch, capsys, "tables", tmp_path, "--output", tmp_path / "out")
    assert "Tables need runs that were scored; got none among 0 runs." in line
    line = refused(monkeypatch, capsys, "tables", tmp_path / "no", "--output", tmp_path / "out")
    assert f"Runs must be in folders that are there; got {tmp_path / 'no'}. Correct" in line
    assert not (tmp_path / "out").exists()


def test_a_damaged_table_of_a_run_is_named(tmp_path):
    run = mock_run(tmp_path, "a", mae=1.0)
    (run / "hits.csv").write_bytes(b"")
    with pytest.raises(RunError, match=r"hits.csv of a run must be a table; got an unreadable"):
        read_runs([tmp_path])


def test_a_folder_that_cannot_be_written_is_named(tmp_path, monkeypatch, capsys):
    output = mock_run(tmp_path, "a", mae=1.0) / "config.json"
    line = refused(monkeypatch, capsys, "tables", tmp_path, "--output", output)
    assert f"Files must be readable and writable; got 'File exists' for {output}." in line


def test_bundled_runs_make_tables():
    records, unscored = read_runs([ROOT / "sttrans_core" / "pretrained"])
    assert not unscored
    assert all(isinstance(record, RunRecord) for record in records)
    tables = {table.name: table for table in result_tables(records)}
    change = _value(
        tables["table3"], "ST-Trans no_alignment", "mean of 12 steps",
        "MAE above that of full, same seeds",
    )  # fmt: skip
    assert change["mean"] > 0  # looking at other places pays where waves travel
