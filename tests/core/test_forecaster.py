"""Forecasts and alignments of a trained run: no peeking, switches, and refused questions."""

import inspect

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from small_runs import HISTORY, HORIZON, NODES, SOURCES, dataset_of, rhythm

from sttrans_core.data.windows import Windows
from sttrans_core.forecaster import Forecaster, load_run
from sttrans_core.runs import RunError
from sttrans_core.schema import SchemaError


def _at(dataset: xr.Dataset, step: int) -> np.datetime64:
    return dataset["time"].values[step]


@settings(max_examples=10)
@given(origin=st.integers(HISTORY - 1, 190), seed=st.integers(0, 999), cut=st.booleans())
def test_the_future_cannot_be_seen(trained, series, origin, seed, cut):
    changed = series.copy(deep=True)
    noise = np.random.default_rng(seed).normal(size=changed["target"][origin + 1 :].shape)
    changed["target"][origin + 1 :] = np.where(noise > 1, np.nan, 1000 * noise)
    if cut:  # or is not there at all
        changed = changed.isel(time=slice(origin + 1))
    time = _at(series, origin)
    before, after = (trained.forecast(some, [time]) for some in (series, changed))
    for name in ("forecast", "lower", "upper"):
        xr.testing.assert_identical(before[name], after[name])
    alignments = [trained.align(some, time, ["s3"]) for some in (series, changed)]
    xr.testing.assert_identical(*alignments)


@settings(max_examples=5)
@given(origin=st.integers(60, 190), seed=st.integers(0, 999))
def test_what_is_older_than_the_history_does_not_matter(trained, series, origin, seed):
    changed = series.copy(deep=True)
    old = changed["target"][: origin + 1 - HISTORY]
    changed["target"][: origin + 1 - HISTORY] = np.random.default_rng(seed).normal(size=old.shape)
    before, after = (trained.forecast(some, [_at(series, origin)]) for some in (series, changed))
    xr.testing.assert_identical(before, after)


def test_the_last_step_is_the_default_origin(trained, series):
    xr.testing.assert_identical(
        trained.forecast(series), trained.forecast(series, [_at(series, -1)])
    )
    assert np.isnan(trained.forecast(series)["target"]).all()


def test_many_origins_are_as_many_forecasts(trained, series):
    # More than one batch of 64, in any order.
    times = series["time"].values[np.random.default_rng(0).permutation(np.arange(6, 199))[:131]]
    together = trained.forecast(series, times)
    assert np.array_equal(together["time"].values, times)
    for row in (0, 63, 64, 130):
        alone = trained.forecast(series, [times[row]])
        np.testing.assert_allclose(together["forecast"][row], alone["forecast"][0], rtol=1e-4)


@pytest.mark.parametrize("kind", [str, pd.Timestamp, np.datetime64])
def test_times_come_in_any_form(trained, series, kind):
    time = _at(series, 100)
    xr.testing.assert_identical(
        trained.forecast(series, [kind(str(time))]), trained.forecast(series, [time])
    )
    xr.testing.assert_identical(
        trained.align(series, kind(str(time)), ["s1"]), trained.align(series, time, ["s1"])
    )


def test_places_are_explained_in_the_order_asked_for(trained, series):
    everyone = trained.align(series, _at(series, 50))
    assert everyone["query_node"].values.tolist() == series["node"].values.tolist()
    some = trained.align(series, _at(series, 50), ["s9", "s0"])
    expected = everyone.sel(query_node=["s9", "s0"])
    assert np.array_equal(some["source_node"], expected["source_node"])
    np.testing.assert_allclose(some["weight"], expected["weight"], atol=1e-5)


def test_what_sources_forecast_by_themselves_depends_on_them_alone(trained, series):
    """Weighted values through a linear map, so a place without any source says the same always."""
    alignment = trained.align(series, _at(series, 50), ["s9", "s0"])
    aligned = alignment["aligned_forecast"]
    assert dict(aligned.sizes) == {"horizon": HORIZON, "query_node": 2}
    assert aligned["horizon"].values.tolist() == list(range(1, HORIZON + 1))
    own = trained.align(series, _at(series, 50), ["s9", "s0"], topk=1)["aligned_forecast"]
    assert not np.allclose(aligned, own, atol=1e-2)
    outage = [
        trained.align(series, _at(series, step), mask_nodes=trained.data.nodes)["aligned_forecast"]
        for step in (50, 70)
    ]
    np.testing.assert_allclose(outage[0], outage[1], atol=1e-4)


@pytest.mark.parametrize("topk", [1, 3, 5, SOURCES])
def test_another_k_keeps_the_best(trained, series, topk):
    alignment = trained.align(series, _at(series, 50), ["s4"], topk=topk)
    everything = trained.align(series, _at(series, 50), ["s4"], topk=SOURCES)
    assert alignment.sizes["source"] == alignment.attrs["topk"] == topk
    covered, whole = (some["covered_mass"].values for some in (alignment, everything))
    assert (covered <= whole + 1e-6).all()
    assert np.allclose(whole, 1.0, atol=1e-5)
    if topk < SOURCES:
        assert (covered < whole).all()


def test_without_the_window_nothing_is_in_it(trained, series):
    alignment = trained.align(series, _at(series, 50), window=False)
    assert not alignment["in_window"].any()
    assert alignment.attrs["window_nodes"] == 0
    assert trained.align(series, _at(series, 50))["in_window"].any()


def test_hidden_readings_say_nothing(trained, series):
    changed = series.copy(deep=True)
    changed["target"][:, 4] = 7.0
    changed["target"][50 - 2] = 90.0  # history step 4 of 0 .. 6
    alignments = [
        trained.align(some, _at(series, 50), mask_nodes=["s4"], mask_steps=[4])
        for some in (series, changed)
    ]
    readings = ["source_value"]
    xr.testing.assert_identical(*(some.drop_vars(readings) for some in alignments))
    some = alignments[0]
    kept = some["valid"].values
    assert not (some["source_node"].values[kept] == "s4").any()
    assert not (some["source_step"].values[kept] == 4).any()


def test_hiding_everything_leaves_no_alignment(trained, series):
    alignment = trained.align(series, _at(series, 50), ["s4"], mask_steps=range(HISTORY))
    assert not alignment["valid"].any()
    assert (alignment["weight"] == 0).all()
    assert (alignment["covered_mass"] == 0).all()


@settings(max_examples=10)
@given(st.integers(HISTORY - 1, 198))
def test_missing_readings_are_never_aligned_to(trained, origin):
    dataset = rhythm(missing=0.6, seed=5)
    alignment = trained.align(dataset, _at(dataset, origin))
    kept = alignment["valid"].values
    assert np.isfinite(alignment["source_value"].values[kept]).all()
    total = alignment["weight"].sum("source")
    assert np.allclose(total, np.broadcast_to(kept.any(-1)[..., None], total.shape), atol=1e-5)


@pytest.mark.parametrize("step", [0, HISTORY - 2])
def test_an_origin_without_history_is_refused(trained, series, step):
    sentence = (
        r"origin must be a time of the dataset with 7 steps of history, 2024-01-01 00:30:00 to "
        r"2024-01-01 16:30:00; got .*\. Choose a time in that range"
    )
    with pytest.raises(ValueError, match=sentence):
        trained.forecast(series, [_at(series, step)])
    with pytest.raises(ValueError, match=sentence):
        trained.align(series, _at(series, step))


@pytest.mark.parametrize("time", ["2023-12-31T23:59", "2030-01-01", "2024-01-01T16:35"])
def test_an_origin_outside_the_dataset_is_refused(trained, series, time):
    sentence = rf"origin must be a time of the dataset .*; got {time[:10]}.*Choose a time in that"
    with pytest.raises(ValueError, match=sentence):
        trained.forecast(series, [_at(series, 50), time])
    with pytest.raises(ValueError, match=sentence):
        trained.align(series, time)


def test_unknown_places_are_refused(trained, series):
    sentence = r"Nodes must be ids of the run; got 'x9'\. Its ids look like s0, s1, s2"
    for arguments in ({"nodes": ["s1", "x9"]}, {"mask_nodes": ["x9"]}):
        with pytest.raises(ValueError, match=sentence):
            trained.align(series, _at(series, 50), **arguments)


def test_hidden_readings_have_no_say_in_the_forecast(trained, series):
    changed = series.copy(deep=True)
    changed["target"][45:51, 4] = 7.0
    changed["target"][50 - 2] = 90.0  # history step 4 of 0 .. 6
    hidden = {"mask_nodes": ["s4"], "mask_steps": [4]}
    some, other = (
        trained.forecast(each, [_at(series, 50)], **hidden) for each in (series, changed)
    )
    np.testing.assert_array_equal(some["forecast"], other["forecast"])
    assert (some["forecast"] != trained.forecast(series, [_at(series, 50)])["forecast"]).any()
    assert (other["forecast"] != trained.forecast(changed, [_at(series, 50)])["forecast"]).any()


def test_switches_change_the_forecast_and_leave_the_weights_alone(trained, series):
    at = [_at(series, 50)]
    plain = trained.forecast(series, at)["forecast"]
    for switch in ({"topk": 1}, {"window": False}, {"silent_heads": [1]}):
        assert not np.allclose(trained.forecast(series, at, **switch)["forecast"], plain)
    xr.testing.assert_identical(trained.forecast(series, at)["forecast"], plain)
    # What is as trained changes nothing.
    same = trained.forecast(series, at, topk=trained.selection().topk, window=True)["forecast"]
    np.testing.assert_array_equal(same, plain)


def test_without_any_head_sources_say_nothing(trained, series):
    # What other places say by the sources alone; the surroundings, too, hear of them.
    changed = series.copy(deep=True)
    changed["target"][44:51] = 80.0
    silent = {"silent_heads": range(trained.config.model.num_heads)}
    places = ["s4", "s5"]
    for options, is_equal in ((silent, True), ({}, False)):
        told = [
            trained.align(each, _at(series, 50), places, **options)["aligned_forecast"]
            for each in (series, changed)
        ]
        assert np.allclose(*told, rtol=1e-5) == is_equal


def test_a_head_that_is_not_there_cannot_be_silenced(trained, series):
    for silence in (trained.forecast, trained.align):
        time = _at(series, 50)
        with pytest.raises(ValueError, match=r"silent_heads must be between 0 and \d; got 9\."):
            silence(series, [time] if silence == trained.forecast else time, silent_heads=[9])


@pytest.mark.parametrize("step", [-1, HISTORY])
def test_steps_outside_the_history_are_refused(trained, series, step):
    sentence = rf"mask_steps must be between 0 and 6; got {step}\. Count steps from the oldest"
    with pytest.raises(ValueError, match=sentence):
        trained.align(series, _at(series, 50), mask_steps=[step])


def test_more_than_the_sources_is_refused(trained, series):
    sentence = r"topk must be between 1 and the number of sources; got topk=71 with 70 .*Lower topk"
    with pytest.raises(ValueError, match=sentence):
        trained.align(series, _at(series, 50), topk=SOURCES + 1)


@pytest.mark.parametrize("topk", [0, -1, True, 2.5, "8", np.float64(8)])
def test_k_that_is_no_whole_number_from_1_is_refused(topk, trained, series):
    align = inspect.unwrap(Forecaster.align)  # without the type checks of the tests
    sentence = r"topk must be a whole number, at least 1; got .*\. Pass for example topk=8"
    with pytest.raises(ValueError, match=sentence) as caught:
        align(trained, series, _at(series, 50), topk=topk)
    assert f"got {topk!r}." in str(caught.value)


def test_k_may_be_a_number_of_numpy(trained, series):
    align = inspect.unwrap(Forecaster.align)
    with torch.no_grad():
        alignment = align(trained, series, _at(series, 50), ["s4"], topk=np.int64(3))
    assert alignment.sizes["source"] == 3


def _other_nodes(series):
    return series.assign_coords(node=[f"t{i}" for i in range(NODES)])


def _one_renamed(series):
    return series.assign_coords(node=["new", *series["node"].values[1:]])


def _one_more(series):
    more = series.isel(node=[0]).assign_coords(node=["new"])
    return xr.concat([series, more], dim="node")


def _fewer_nodes(series):
    return series.isel(node=slice(5))


def _another_order(series):
    return series.isel(node=slice(None, None, -1))


def _hourly(series):
    readings = series["target"].values
    return dataset_of(readings, interval="1h").assign_coords(
        latitude=series["latitude"], longitude=series["longitude"]
    )


def _kilometres(series):
    return series.assign_attrs(units="km/h")


def _moved(series):
    longitude = series["longitude"].values.copy()
    longitude[4] += 2e-4
    return series.assign_coords(longitude=("node", longitude))


def test_places_may_be_written_in_another_turn(trained, series):
    turned = series.assign_coords(longitude=series["longitude"] - 360 + 5e-5)
    xr.testing.assert_equal(
        trained.forecast(turned)["forecast"].drop_vars("longitude"),
        trained.forecast(series)["forecast"].drop_vars("longitude"),
    )


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (_other_nodes, r"hold the 11 sensors that the run was trained on, .* 's0'; got 0 of them"),
        (_other_nodes, r"and others, such as 't0'\. A run knows its own sensors only: train"),
        (_one_renamed, r"11 sensors .*; got 10 of them and others, such as 'new'\. A run knows"),
        (_one_more, r"run's 11 nodes in the same order; got 12 nodes with 'new'\. Select dataset"),
        (_fewer_nodes, r"run's 11 nodes in the same order; got 5 nodes without 's5'\. Pass"),
        (_another_order, r"same order; got 11 nodes in another order\. Reorder them with dataset"),
        (_moved, r"where they were in training; got 's4' at 40\.0040, 5\.1602 instead of 40\.0040"),
        (_hourly, r"run's interval \(0 days 00:05:00\); got 0 days 01:00:00\. Resample or"),
        (_kilometres, r"run's units \(mph\); got km/h\. Resample or convert it, or train on it"),
    ],
)
def test_a_dataset_that_does_not_fit_is_refused(change, sentence, trained, series):
    other = change(series)
    with pytest.raises(RunError, match=sentence):
        trained.forecast(other)
    with pytest.raises(RunError, match=sentence):
        trained.align(other, _at(other, 50))


def test_a_dataset_without_its_contract_is_refused(trained, series):
    with pytest.raises(SchemaError, match="strictly increasing"):
        trained.forecast(series.isel(time=slice(None, None, -1)))


def test_a_series_shorter_than_the_history_is_refused(trained, series):
    sentence = "at least as long as the history; got 6 steps with history_steps=7"
    with pytest.raises(ValueError, match=sentence):
        trained.forecast(series.isel(time=slice(6)))


def test_empty_questions_are_refused(trained, series):
    with pytest.raises(ValueError, match=r"times must hold at least one forecast origin; got none"):
        trained.forecast(series, [])
    with pytest.raises(ValueError, match=r"Nodes must be ids of the run; got none\. Its ids look"):
        trained.align(series, _at(series, 50), [])


def test_one_text_is_no_list_of_places(trained, series):
    sentence = r"Nodes must be a list of ids; got the text 's4'\. Write \['s4'\]"
    for arguments in ({"nodes": "s4"}, {"mask_nodes": "s4"}):
        with pytest.raises(ValueError, match=sentence):
            trained.align(series, _at(series, 50), **arguments)


@pytest.mark.parametrize(
    ("time", "got"),
    [
        ("yesterday", "'yesterday'"),
        ("", "''"),
        (None, "None"),
        (1500, "1500"),
        (15.0, "15.0"),
        (np.datetime64("NaT"), "None"),
        (True, "True"),
    ],
)
def test_what_is_no_time_is_refused(time, got, trained, series):
    sentence = (
        rf"A forecast origin must be a time; got {got}, which is none\. Write it as in "
        r"'2024-01-01T16:30:00', or take one from dataset\['time'\]\.values"
    )
    with pytest.raises(ValueError, match=sentence):
        trained.forecast(series, [time])
    with pytest.raises(ValueError, match=sentence):
        trained.align(series, time)


@pytest.mark.parametrize("kind", [str, pd.Timestamp])
def test_a_time_with_a_zone_is_refused(kind, trained, series):
    sentence = r"must be without a time zone, .*; got 2024-01-01.08:00.*\+01:00\. Convert it"
    with pytest.raises(ValueError, match=sentence):
        trained.forecast(series, [kind("2024-01-01T08:00+01:00")])


@pytest.mark.parametrize(
    ("time", "nearest"),
    [
        ("2024-01-01T12:03", "12:05:00"),
        ("2024-01-01T12:02", "12:00:00"),
        ("2024-01-01T00:31", "00:30:00"),  # the first with 7 steps of history
        ("2024-01-01T16:29:59", "16:30:00"),
    ],
)
def test_a_time_between_two_steps_names_the_nearest(time, nearest, trained, series):
    sentence = (
        rf"must be one of the dataset's time stamps, every 5min; got {time}, which lies between "
        rf"two\. The nearest one is 2024-01-01 {nearest}\."
    )
    with pytest.raises(ValueError, match=sentence):
        trained.forecast(series, [_at(series, 50), time])
    with pytest.raises(ValueError, match=sentence):
        trained.align(series, time)


def test_an_outage_can_be_forecast(trained, series):
    # Nothing is observed in the history or the horizon; the series as a whole is fine.
    silent = series.copy(deep=True)
    silent["target"][80:120] = np.nan
    time = _at(series, 100)
    forecast = trained.forecast(silent, [time])
    assert np.isfinite(forecast["forecast"]).all()
    assert np.isnan(forecast["target"]).all()
    assert not trained.align(silent, time)["valid"].any()


def test_what_lies_outside_the_windows_is_not_scaled(trained, series, monkeypatch):
    asked = []

    def windows(dataset, **options):
        asked.append(dataset.sizes["time"])
        return Windows(dataset, **options)

    monkeypatch.setattr("sttrans_core.fitted.Windows", windows)
    trained.forecast(series, [_at(series, 50), _at(series, 60)])
    # History of 7 up to step 50, horizon of 6 after 60, and one step more.
    assert asked == [10 + HISTORY + HORIZON + 1]


@pytest.mark.parametrize("at_once", [1, 2 * 7 * 11 * 3 * 2, 1 << 24])
def test_queries_may_come_in_parts(at_once, trained, series, monkeypatch):
    whole = trained.align(series, _at(series, 50))
    monkeypatch.setattr("sttrans_core.alignment.topk._SCORES_AT_ONCE", at_once)
    monkeypatch.setattr("sttrans_core.alignment.ranking._SCORES_AT_ONCE", {"cpu": at_once})
    some = trained.align(series, _at(series, 50))
    assert np.array_equal(some["source_node"], whole["source_node"])
    for name in ("weight", "covered_mass"):
        np.testing.assert_allclose(some[name], whole[name], atol=1e-5)


@pytest.mark.parametrize("device", ["gpu", "cuda"])
def test_a_device_that_is_not_there_is_refused(device, trained, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    sentence = rf"The device must be auto or cpu on this machine; got '{device}'\. Choose one"
    with pytest.raises(ValueError, match=sentence):
        load_run(trained.run_dir, device=device)


@pytest.mark.parametrize("layer", [1, 7, -2])
def test_a_layer_that_is_not_there_is_refused(trained, series, layer):
    sentence = rf"layer must be between 0 and 0, or -1 for the last; got {layer}\. Choose"
    with pytest.raises(ValueError, match=sentence):
        trained.align(series, _at(series, 50), layer=layer)
