"""METR-LA and PEMS-BAY as labelled datasets, from every form of folder."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from data_samples import (
    SENSORS,
    STEPS,
    adjacency,
    fingerprint,
    places,
    speeds,
    tiny_series,
    write_adjacency,
    write_folder,
    write_hdf,
    write_locations,
)

from sttrans_core.data.published import METR_LA, METR_LA_10, PEMS_BAY
from sttrans_core.data.traffic import find_series, load_traffic, verify_series
from sttrans_core.schema import check_dataset


def test_a_folder_becomes_a_labelled_dataset(tmp_path: Path) -> None:
    frame = speeds()
    folder = write_folder(tmp_path, frame)
    write_adjacency(folder / "adj_mx.pkl", adjacency(frame))
    before = fingerprint(tmp_path)
    dataset = check_dataset(load_traffic(METR_LA, folder / "metr-la.h5"))
    assert dataset["target"].shape == (STEPS, SENSORS)
    assert dataset["target"].dtype == np.float32
    # Step 2 of sensor 1 is stored as 0, which means missing; every other reading is kept.
    assert np.argwhere(np.isnan(dataset["target"].values)).tolist() == [[2, 1]]
    assert float(dataset["target"][3, 2]) == 20 + (3 * SENSORS + 2) / 8
    assert dataset["node"].values.tolist() == list(frame.columns)
    assert float(dataset["latitude"].sel(node="4003")) == 34.02
    # Sensors 4001 and 4002 are rows 4 and 3 of the 6 x 6 matrix of hundredths.
    assert float(dataset["adjacency"].sel(node="4001", to_node="4002")) == np.float32(0.27)
    assert dataset.attrs["interval"] == "5min"
    assert dataset.attrs["valid_min"] == 0
    assert dataset.attrs["title"].endswith("2012-03-01 to 2012-03-01")
    assert "13 of the 34,272 time steps and 5 of the 207 sensors" in dataset.attrs["notes"]
    assert fingerprint(tmp_path) == before


def test_a_gap_of_whole_steps_is_filled_and_noted(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, speeds().drop(speeds().index[4:7]))
    dataset = load_traffic(METR_LA, folder / "metr-la.h5")
    assert dataset.sizes["time"] == STEPS
    assert np.isnan(dataset["target"].values[4:7]).all()
    assert "Absent time steps put in as missing readings: 3." in dataset.attrs["notes"]


def test_graph_files_in_sensor_graph_or_another_folder(tmp_path: Path) -> None:
    frame = speeds()
    file = write_hdf(tmp_path / "metr-la.h5", frame)
    (tmp_path / "elsewhere").mkdir()
    write_locations(tmp_path / "elsewhere" / "graph_sensor_locations.csv", frame)
    near = load_traffic(METR_LA, file, graph_folders=[tmp_path / "elsewhere"])
    (tmp_path / "elsewhere").rename(tmp_path / "sensor_graph")
    assert near.identical(load_traffic(METR_LA, file))
    (tmp_path / "sensor_graph").rename(tmp_path / "fetched")
    assert near.identical(load_traffic(METR_LA, file, fetch_graph=lambda: tmp_path / "fetched"))


def test_adjacency_is_made_where_it_is_missing(tmp_path: Path) -> None:
    frame = speeds()
    folder = write_folder(tmp_path, frame)
    from_places = load_traffic(METR_LA, folder / "metr-la.h5")
    assert "made from locations alone" in from_places.attrs["notes"]
    assert float(from_places["adjacency"].min()) >= 0
    (folder / "distances_la_2012.csv").write_text("from,to,cost\n4001,4001,0\n4001,4002,1\n")
    from_roads = load_traffic(METR_LA, folder / "metr-la.h5")
    assert "made from the road distances" in from_roads.attrs["notes"]
    # Distances 0 and 1 deviate by 1/2, so the weight is exp(-(1 / 0.5)^2) = exp(-4): below 0.1.
    assert from_roads["adjacency"].values.sum() == 1.0


def test_first_ten_sensors_of_a_whole_file(tmp_path: Path) -> None:
    frame = speeds(sensors=13)
    file = write_folder(tmp_path, frame) / "metr-la.h5"
    dataset = load_traffic(METR_LA_10, file)
    assert dataset["node"].values.tolist() == list(frame.columns[:10])


def test_bay_files_have_no_header(tmp_path: Path) -> None:
    frame = speeds(first="2017-03-01")
    file = write_hdf(tmp_path / "pems-bay.h5", frame, key="speed", ids="numbers")
    write_locations(tmp_path / "graph_sensor_locations_bay.csv", frame, header=False)
    dataset = load_traffic(PEMS_BAY, file)
    assert dataset["node"].values.tolist() == list(frame.columns)
    assert float(dataset["longitude"].sel(node="4001")) == -118.0


@pytest.mark.parametrize(
    "name", ["metr-la.h5", "METR-LA.h5", "metr_la.h5", "METR_LA.hdf5", "METR-LA.csv", "metrla.csv"]
)
def test_spellings_of_the_file(tmp_path: Path, name: str) -> None:
    for other in ("METR-LA-META.csv", "notes.h5", "pems-bay.h5", "graph_sensor_locations.csv"):
        (tmp_path / other).touch()
    (tmp_path / "metr-la.h5").mkdir()
    assert find_series(METR_LA, tmp_path) is None
    (tmp_path / "metr-la.h5").rmdir()
    (tmp_path / name).touch()
    assert find_series(METR_LA, tmp_path) == tmp_path / name


def test_hdf_is_taken_before_csv(tmp_path: Path) -> None:
    for name in ("METR-LA.csv", "metr_la.h5"):
        (tmp_path / name).touch()
    assert find_series(METR_LA, tmp_path) == tmp_path / "metr_la.h5"


def test_missing_locations_say_where_to_get_them(tmp_path: Path) -> None:
    file = write_hdf(tmp_path / "metr-la.h5", speeds())
    with pytest.raises(FileNotFoundError, match=r"needs the sensor locations.*liyaguang/DCRNN"):
        load_traffic(METR_LA, file)


def test_readings_of_something_else_are_refused_before_the_graph_is_looked_for(
    tmp_path: Path,
) -> None:
    def never() -> Path:
        raise AssertionError("nothing is fetched for the wrong readings")

    faults = {
        # Names instead of numbers, at a time when METR-LA was recorded.
        "sensors such as A4001 from 2012-03-01 to 2012-03-01": speeds().add_prefix("A"),
        # METR-LA has 34,272 steps of 5 minutes: 119 days, to 2012-06-27 23:55.
        "readings from 2012-06-28 to 2012-06-28": speeds(first="2012-06-28"),
        "readings from 2011-01-01 to 2011-01-01": speeds(first="2011-01-01"),
    }
    for got, frame in faults.items():
        frame.to_csv(tmp_path / "speeds.csv")
        message = (
            r"speeds\.csv must hold readings of metr-la, of numbered sensors from 2012-03-01 to "
            rf"2012-06-27; got {got}\. For your own sensors, save from_table"
        )
        with pytest.raises(ValueError, match=message):
            load_traffic(METR_LA, tmp_path / "speeds.csv", fetch_graph=never)
    # A day of it is fine, and then the graph is asked for.
    speeds(first="2012-06-27").to_csv(tmp_path / "speeds.csv")
    with pytest.raises(AssertionError, match="nothing is fetched"):
        load_traffic(METR_LA, tmp_path / "speeds.csv", fetch_graph=never)


def test_locations_of_other_sensors_are_refused(tmp_path: Path) -> None:
    file = write_hdf(tmp_path / "metr-la.h5", speeds())
    write_locations(tmp_path / "graph_sensor_locations.csv", speeds(sensors=3))
    with pytest.raises(ValueError, match=r"must have a location.*none for 2 of 5 sensors \(4004"):
        load_traffic(METR_LA, file)


@pytest.mark.parametrize(
    ("order", "message"),
    [
        ([0, 2, 1, 3, 4], "strictly increasing in metr-la.h5; got 2012-03-01 00:05:00 after"),
        ([0, 1, 1, 2, 3], "strictly increasing in metr-la.h5; got 2012-03-01 00:05:00 twice"),
    ],
)
def test_unsorted_or_doubled_times_are_refused(
    tmp_path: Path, order: list[int], message: str
) -> None:
    folder = write_folder(tmp_path, speeds().iloc[order])
    before = fingerprint(folder)
    with pytest.raises(ValueError, match=message):
        load_traffic(METR_LA, folder / "metr-la.h5")
    assert fingerprint(folder) == before


def test_other_intervals_and_negative_speeds_are_refused(tmp_path: Path) -> None:
    frame = speeds()
    shifted = frame.set_axis([*frame.index[:-1], frame.index[-1] + pd.Timedelta("1min")])
    folder = write_folder(tmp_path / "shifted", shifted)
    with pytest.raises(ValueError, match=r"interval between times must be constant in metr-la.h5"):
        load_traffic(METR_LA, folder / "metr-la.h5")
    folder = write_folder(tmp_path / "slow", frame.iloc[::2])
    with pytest.raises(ValueError, match=r"must be a step that occurs.*interval='5min'.*00:10:00"):
        load_traffic(METR_LA, folder / "metr-la.h5")
    folder = write_folder(tmp_path / "negative", frame - 21)
    with pytest.raises(ValueError, match=r"Speeds must be at least 0 in metr-la.h5; got -21 mph"):
        load_traffic(METR_LA, folder / "metr-la.h5")


def test_the_structure_of_a_download_is_verified() -> None:
    frame = speeds()
    verify_series(tiny_series(frame), frame)
    faults = {
        "5 sensors, not 4": frame.iloc[:, 1:],
        "the published sensor ids": frame.rename(columns={"4001": "4009"}),
        "at most 13 steps and few gaps, not 10 steps": frame.drop(frame.index[3:6]),
        "times from 2012-03-01 00:00": frame.set_axis(frame.index + pd.Timedelta("1D")),
        "speeds from 0 to 100 mph": frame * 5,
        "about 1.5 % missing readings, not 9.2 %": pd.concat([0 * frame.iloc[:1], frame.iloc[1:]]),
    }
    for message, fault in faults.items():
        with pytest.raises(ValueError, match=f"got a file without .*{message}"):
            verify_series(tiny_series(frame), fault)
    with pytest.raises(ValueError, match="5 sensors, not 0"):
        verify_series(tiny_series(frame), frame.iloc[:0, :0])


def test_places_are_distinct() -> None:
    # Guards the sample itself: a join by position would put every sensor elsewhere.
    table = places(speeds())
    assert table["sensor_id"].tolist() != list(speeds().columns)


def test_real_week_and_real_four_months(real_data: Path) -> None:
    before = fingerprint(real_data / "metr-la")
    week = load_traffic(METR_LA, real_data / "metr-la" / "metr-la.h5")
    assert week["target"].shape == (2016, 207)
    # 2.8 % of the first 1,026 steps; later gaps were filled by whoever published the week.
    assert 100 * np.isnan(week["target"].values[:1026]).mean() == pytest.approx(2.8, abs=0.05)
    assert not np.isnan(week["target"].values[1026:]).any()
    assert "2,016 of the 34,272 time steps and 207 of the 207 sensors" in week.attrs["notes"]
    assert "2012-03-01 to 2012-03-07" in week.attrs["title"]
    assert fingerprint(real_data / "metr-la") == before

    months = load_traffic(METR_LA_10, real_data / "metr-la-10" / "metr-la.h5")
    assert months["target"].shape == (34_272, 10)
    assert 100 * np.isnan(months["target"].values).mean() == pytest.approx(7.4, abs=0.05)
    assert "time steps" not in months.attrs["notes"]
    ten = list(months["node"].values)
    np.testing.assert_array_equal(
        months["adjacency"].values, week["adjacency"].sel(node=ten, to_node=ten).values
    )
    np.testing.assert_array_equal(months["latitude"].values, week["latitude"].sel(node=ten).values)
