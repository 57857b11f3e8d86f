"""Taxi demand: what is counted, what is left out and told, and what is refused."""

import re
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from taxi_samples import Trip, write_table, write_trips, write_zones

from sttrans_core.data import data_card, download_trips, load_dataset, load_trips, load_zones
from sttrans_core.data.taxi_counts import count_demand
from sttrans_core.data.taxi_files import TaxiFile, open_taxi_file, read_batches

JANUARY: list[Trip] = [
    ("2023-01-01T00:00:00", "2023-01-01T00:29:59", 2, 5),
    ("2023-01-01T00:29:59", "2023-01-01T00:30:00", 2, 5),
    ("2023-01-01T00:30:00", "2023-01-01T01:10:00", 4, 2),
    ("2023-01-31T23:59:59", "2023-02-01T00:10:00", 2, 4),
]
DAY = "2023-01-01"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_zones(tmp_path / "nyc-taxi")


def _january(folder: Path, trips: list[Trip] = JANUARY, **options) -> Path:
    return write_trips(folder / "yellow_tripdata_2023-01.parquet", trips, **options)


def test_trips_count_in_their_half_hour_and_zone(folder: Path) -> None:
    dataset = load_trips(_january(folder))
    # Zones 1 and 3 have no trip, and zone 5 no pick-up.
    assert dataset["node"].values.tolist() == ["2", "4"]
    assert dataset["zone"].values.tolist() == ["Zone 2", "Zone 4"]
    assert dataset["borough"].values.tolist() == ["Manhattan", "Manhattan"]
    target = dataset["target"]
    assert target.dims == ("time", "node")
    assert target.shape == (31 * 48, 2)
    assert target.values[:3].tolist() == [[2, 0], [0, 1], [0, 0]]
    assert target.sel(time="2023-01-31T23:30").values.tolist() == [1, 0]
    assert float(target.sum()) == 4
    # 29 of 31 days have no trip at all: no reading, in place of a quiet city.
    assert np.isnan(target.values).all(axis=1).sum() == 29 * 48
    assert dataset.attrs["units"] == "trips"
    assert dataset.attrs["interval"] == "30min"
    assert dataset.attrs["valid_min"] == 0
    assert dataset.attrs["title"] == (
        "NYC yellow taxi, pick-ups per zone, 2023-01-01 to 2023-01-31"
    )
    assert dataset.attrs["notes"] == (
        "Trips read: 4. Pick-ups counted: 4; left out: none. Days missing, without a trip in any "
        "zone: 29. Local time; 0 means no trip."
    )
    assert "Trips read: 4." in data_card(dataset)["notes"]


@pytest.mark.parametrize(
    ("service", "unit", "ids"),
    [
        ("yellow", "ns", pa.int32()),
        ("green", "ms", pa.float64()),
        ("fhv", "us", pa.float64()),
        ("fhvhv", "s", pa.int16()),
    ],
)
def test_every_spelling_and_type_gives_the_same(folder: Path, service, unit, ids) -> None:
    expected = load_trips(_january(folder), dropoffs=True)
    (folder / "yellow_tripdata_2023-01.parquet").unlink()
    path = folder / f"{service.upper()}_tripdata_2023-01.parquet"
    found = load_trips(
        write_trips(path, JANUARY, service=service, unit=unit, ids=ids), dropoffs=True
    )
    assert found.drop_attrs().identical(expected.drop_attrs())
    words = {"yellow": "NYC yellow taxi", "green": "NYC green taxi", "fhv": "NYC for-hire vehicles"}
    title = words.get(service, "NYC high-volume for-hire vehicles")
    assert found.attrs["title"].startswith(f"{title}, pick-ups and drop-offs per zone")


def test_drop_offs_are_a_channel_and_fall_where_they_are(folder: Path) -> None:
    january = _january(folder)
    dataset = load_trips(january, dropoffs=True, interval="1h")
    assert dataset["target"].dims == ("time", "node", "channel")
    assert dataset["channel"].values.tolist() == ["pickup", "dropoff"]
    assert dataset["node"].values.tolist() == ["2", "4", "5"]
    # First hour: two pick-ups in zone 2, one in 4, two drop-offs in 5; second: one drop-off in 2.
    assert dataset["target"].values[0].tolist() == [[2, 0], [1, 0], [0, 2]]
    assert dataset["target"].values[1].tolist() == [[0, 1], [0, 0], [0, 0]]
    assert (
        "Drop-offs counted: 3; left out: 1 dropped off outside the period."
        in (dataset.attrs["notes"])
    )
    # With the next month at hand, the drop-off after midnight counts there.
    name = "yellow_tripdata_2023-02.parquet"
    february = write_trips(folder / name, [("2023-02-01T08:00", "2023-02-01T08:05", 1, 1)])
    both = load_trips([february, january], dropoffs=True)
    assert float(both["target"].sel(channel="dropoff").sum()) == 5
    midnight = both["target"].sel(time="2023-02-01T00:00", node="4")
    assert midnight.values.tolist() == [0, 1]


def test_what_cannot_be_counted_is_told(folder: Path) -> None:
    trips: list[Trip] = [
        *JANUARY,
        ("2009-01-01T00:00:00", "2023-01-01T00:10:00", 2, 2),
        ("2023-02-01T00:00:00", "2023-02-01T00:10:00", 2, 2),
        (None, "2023-01-01T00:10:00", 2, 2),
        ("2023-01-01T00:00:00", None, 264, 2),
        ("2023-01-01T00:00:00", None, 265, 2),
        ("2023-01-01T00:00:00", None, 0, 2),
        ("2023-01-01T00:00:00", None, None, 2),
        ("2023-01-01T00:00:00", None, 57, 2),
    ]
    dataset = load_trips(_january(folder, trips))
    assert float(dataset["target"].sum()) == 4
    assert (
        "Trips read: 12. Pick-ups counted: 4; left out: 3 outside the month of their file, 1 "
        "without a zone, 3 in the unknown zones 264 and 265, 1 in zones without a polygon. Zones "
        "without a polygon: 57."
    ) in dataset.attrs["notes"]


def test_the_hour_that_clocks_skip_is_missing(folder: Path) -> None:
    # 2023-03-12: clocks go from 01:59:59 to 03:00:00.
    stamps = ["2023-03-12T01:59", "2023-03-12T02:30", "2023-03-12T03:00"]
    trips: list[Trip] = [(stamp, None, 1, 1) for stamp in stamps]
    path = write_trips(folder / "green_tripdata_2023-03.parquet", trips, service="green")
    target = load_trips(path)["target"].sel(node="1")
    night = target.sel(time=slice("2023-03-12T01:30", "2023-03-12T03:00")).values
    assert np.array_equal(night, [1, np.nan, np.nan, 1], equal_nan=True)
    notes = load_trips(path).attrs["notes"]
    assert "counted: 2; left out: 1 in the hours that clocks skip or repeat." in notes
    assert "Steps missing where clocks skip or repeat an hour: 2." in notes
    # Two hours from 02:00 have one hour of readings only.
    longer = load_trips(path, interval="2h")["target"].sel(node="1", time="2023-03-12")
    assert np.flatnonzero(np.isnan(longer.values)).tolist() == [1]


def test_the_hour_that_clocks_repeat_is_missing(folder: Path) -> None:
    # 2023-11-05: the hour from 01:00 comes twice, so its stamps are of two hours.
    stamps = ["2023-11-05T00:59", "2023-11-05T01:00", "2023-11-05T01:59", "2023-11-05T02:00"]
    trips: list[Trip] = [(stamp, None, 1, 1) for stamp in stamps]
    path = write_trips(folder / "yellow_tripdata_2023-11.parquet", trips)
    dataset = load_trips(path, interval="1h")
    night = dataset["target"].sel(node="1", time="2023-11-05").values[:3]
    assert np.array_equal(night, [1, np.nan, 1], equal_nan=True)
    assert "left out: 2 in the hours that clocks skip or repeat." in dataset.attrs["notes"]


_times = st.datetimes(pd.Timestamp("2023-10-25"), pd.Timestamp("2023-12-05"))
_zones = st.none() | st.integers(-3, 300)
_trips = st.tuples(st.none() | _times, st.none() | _times, _zones, _zones)


@given(trips=st.lists(_trips, max_size=40), step=st.sampled_from(["15min", "45min", "1h", "6h"]))
def test_every_trip_is_counted_or_its_reason_is(tmp_path_factory, trips, step) -> None:
    path = tmp_path_factory.mktemp("trips") / "yellow_tripdata_2023-11.parquet"
    rows = [(*(time and time.isoformat() for time in trip[:2]), *trip[2:]) for trip in trips]
    write_trips(path, [*rows, ("2023-11-01", "2023-11-01", 1, 1)])
    channels = ("pickup", "dropoff")
    demand = count_demand([open_taxi_file(path)], step=pd.Timedelta(step), channels=channels)
    assert demand.num_read == len(trips) + 1
    for channel, left_out in enumerate(demand.left_out):
        assert demand.counts[:, channel].sum() + sum(left_out.values()) == demand.num_read
    assert demand.counts[demand.missing].sum() == 0


def test_pieces_and_the_order_of_files_change_nothing(folder: Path, monkeypatch) -> None:
    files = [
        _january(folder, JANUARY * 5),
        write_trips(
            folder / "yellow_tripdata_2023-02.parquet", [("2023-02-01T08:00", None, 1, 1)] * 7
        ),
    ]
    whole = load_trips(folder)
    monkeypatch.setattr("sttrans_core.data.taxi_files._ROWS_AT_ONCE", 3)
    batches = list(read_batches(open_taxi_file(files[0]), ("pickup_zone",)))
    assert [len(batch["pickup_zone"]) for batch in batches] == [3, 3, 3, 3, 3, 3, 2]
    assert load_trips(files[::-1]).identical(whole)


def test_a_month_is_streamed(folder: Path, monkeypatch) -> None:
    monkeypatch.setattr("sttrans_core.data.taxi_files._ROWS_AT_ONCE", 10_000)
    held = []

    def watched(file: TaxiFile, roles: tuple[str, ...]):
        for batch in read_batches(file, roles):
            held.append(pa.total_allocated_bytes())
            yield batch

    monkeypatch.setattr("sttrans_core.data.taxi_counts.read_batches", watched)
    rng = np.random.default_rng(0)
    path = folder / "yellow_tripdata_2023-01.parquet"
    rows = 50_000
    stamps = np.datetime64(DAY, "us") + rng.integers(0, 31 * 86_400, rows) * np.timedelta64(1, "s")
    columns = {"tpep_pickup_datetime": stamps, "PULocationID": rng.integers(1, 6, rows)}
    columns |= {f"amount_{i}": rng.random(rows) for i in range(8)}
    group = pa.table(columns)
    with pq.ParquetWriter(path, group.schema) as writer:
        for _ in range(8):
            writer.write_table(group)
    before, begin = pa.total_allocated_bytes(), time.process_time()
    dataset = load_trips(path)
    seconds = time.process_time() - begin
    assert float(dataset["target"].sum()) == 8 * rows
    assert len(held) == 8 * rows / 10_000
    # 400,000 rows; 3 million in 20 s would allow 2.7 s. As a whole the file has 32 MB, and the two
    # columns that are needed have 6.4 MB.
    assert seconds < 2.7
    assert max(held) - before < 3e6


def test_the_month_of_a_file_without_one_in_its_name(folder: Path) -> None:
    # Three of four trips are of January; of two and two, no month has three quarters.
    path = folder / "trips.parquet"
    late: Trip = ("2023-02-01T00:10:00", None, 2, 2)
    found = load_trips(write_trips(path, [*JANUARY[:3], late]))
    assert found["time"].values[0] == np.datetime64(DAY)
    assert "left out: 1 outside the month of their file" in found.attrs["notes"]
    with pytest.raises(ValueError, match="must hold the trips of one month; got 2 months, none"):
        load_trips(write_trips(path, [*JANUARY[:2], late, late]))
    with pytest.raises(ValueError, match="must hold the trips of one month; got 0 months"):
        load_trips(write_trips(path, []))


HOURS = [("2023-01-01T00:00", 2, 3), ("2023-01-01T01:00", 2, 4), ("2023-01-01T03:00", 4, 5)]


def test_hourly_tables_keep_their_hour_or_are_summed(folder: Path) -> None:
    path = write_table(folder / "yellow_hourly_zone_2023-01.parquet", HOURS)
    dataset = load_trips(path)
    assert dataset.attrs["interval"] == "1h"
    assert dataset.attrs["valid_min"] == 0
    assert dataset["target"].values[:4].tolist() == [[3, 0], [4, 0], [0, 0], [0, 5]]
    assert dataset.attrs["title"].startswith("NYC yellow taxi, pick-ups per zone")
    assert "Trips read: 12. Pick-ups counted: 12" in dataset.attrs["notes"]
    assert load_trips(path, interval="2h")["target"].values[:2].tolist() == [[7, 0], [0, 5]]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("2023-01-01T00:30", 1, 2), "must have full hours .*; got 2 rides in zone 1 at .*00:30"),
        (("2023-01-01T00:00", 1, -2), "whole numbers, at least 0 in .*got -2 rides in zone 1"),
        (("2023-01-01T00:00", 1, 0.5), "whole numbers, at least 0 in .*got 0.5 rides"),
        (("2023-01-01T00:00", 1, np.nan), "whole numbers, at least 0 in .*got nan rides"),
        (("2023-01-01T00:00", 2, 3), "one row an hour .*zone 2 at 2023-01-01 00:00:00 again"),
    ],
)
def test_tables_that_are_no_counts(folder: Path, row, message) -> None:
    path = write_table(folder / "yellow_hourly_zone_2023-01.parquet", [*HOURS, row])
    with pytest.raises(ValueError, match=message):
        load_trips(path)


def test_what_a_table_cannot_give(folder: Path) -> None:
    path = write_table(folder / "yellow_hourly_zone_2023-01.parquet", HOURS)
    with pytest.raises(ValueError, match="interval must be full hours, as a table has them"):
        load_trips(path, interval="30min")
    with pytest.raises(ValueError, match=r"without dropoff time and dropoff zone. Pass dropoffs=F"):
        load_trips(path, dropoffs=True)


@pytest.mark.parametrize("interval", ["7min", "30s", "2D", "1h30s"])
def test_an_interval_that_does_not_divide_a_day(folder: Path, interval) -> None:
    with pytest.raises(
        ValueError, match=rf"divide a day; got '{interval}'. Write for example '1h'"
    ):
        load_trips(_january(folder), interval=interval)


def _without(path: Path, column: str) -> Path:
    pq.write_table(pq.read_table(path).drop_columns([column]), path)
    return path


def _as_text(path: Path, column: str, kind: pa.DataType) -> Path:
    table = pq.read_table(path)
    place = table.schema.get_field_index(column)
    pq.write_table(table.set_column(place, column, table[column].cast(kind)), path)
    return path


def test_files_that_lack_something(folder: Path) -> None:
    path = _january(folder)
    whole = path.read_bytes()
    faults = {
        "PULocationID": "must have a pickup zone, as one of the columns pulocationid, pickup_lo.*"
        "got VendorID, tpep_dropoff_datetime.*Fetch",
        "tpep_pickup_datetime": "must have a pickup time, as one of the columns tpep_pickup",
    }
    for column, message in faults.items():
        with pytest.raises(ValueError, match=message):
            load_trips(_without(path, column))
        path.write_bytes(whole)
    kinds = {
        ("tpep_pickup_datetime", pa.string()): "must hold local times without a zone; got string",
        ("tpep_pickup_datetime", pa.timestamp("us", "UTC")): r"got timestamp\[us, tz=UTC\]",
        ("PULocationID", pa.string()): "PULocationID of yellow_.* must hold numbers; got string",
    }
    for (column, kind), message in kinds.items():
        with pytest.raises(ValueError, match=message):
            load_trips(_as_text(path, column, kind))
        path.write_bytes(whole)
    with pytest.raises(ValueError, match=r"without dropoff time. Pass dropoffs=False"):
        load_trips(_without(path, "tpep_dropoff_datetime"), dropoffs=True)
    # Early months of other services have drop-off columns without a value or a type.
    path.write_bytes(whole)
    expected = load_trips(path)
    assert load_trips(_as_text(path, "tpep_dropoff_datetime", pa.string())).identical(expected)
    with pytest.raises(ValueError, match=r"without dropoff time. Pass dropoffs=False"):
        load_trips(path, dropoffs=True)


def test_damaged_and_empty_files(folder: Path) -> None:
    path = _january(folder, JANUARY * 1000)
    whole = path.read_bytes()
    for cut in (len(whole) // 2, 3, 0):
        path.write_bytes(whole[:cut])
        with pytest.raises(ValueError, match=r"must be a complete parquet file; got .*cut short"):
            load_trips(path)
    # The footer is whole, the pages are not.
    path.write_bytes(b"PAR1" + bytes(len(whole) // 2) + whole[4 + len(whole) // 2 :])
    with pytest.raises(ValueError, match=r"must be a complete parquet file; got .*fetch it again"):
        load_trips(path)
    for trips, rows in (([], 0), ([("2023-02-01T00:00", None, 1, 1)], 1)):
        with pytest.raises(ValueError, match=f"must hold trips of 2023-01; got {rows} rows and no"):
            load_trips(_january(folder, trips))
    with pytest.raises(FileNotFoundError, match=r"A file of trips must exist; got .*gone.parquet"):
        load_trips(folder / "gone.parquet")
    (folder / "none").mkdir()
    with pytest.raises(FileNotFoundError, match=r"must be parquet files; got .*none, without any"):
        load_trips(folder / "none")
    with pytest.raises(FileNotFoundError, match="must be parquet files; got none"):
        load_trips([])


def test_files_that_are_no_one_series(folder: Path) -> None:
    january = _january(folder)
    green = folder / "green_tripdata_2023-02.parquet"
    write_trips(green, [("2023-02-01T00:00", None, 1, 1)], service="green")
    with pytest.raises(ValueError, match=r"got trips of yellow \(yellow_.*\) and trips of green"):
        load_trips(folder)
    table = write_table(folder / "yellow_hourly_zone_2023-01.parquet", HOURS)
    with pytest.raises(ValueError, match=r"and an hourly table of yellow .*Pass the files of one"):
        load_trips([january, table])
    march = folder / "yellow_tripdata_2023-03.parquet"
    write_trips(march, [("2023-03-01T00:00", None, 1, 1)])
    with pytest.raises(ValueError, match=r"follow one another.*2023-03 .* after 2023-01 \(yellow"):
        load_trips([march, january])
    copy = folder / "yellow_copy_2023-01.parquet"
    copy.write_bytes(january.read_bytes())
    with pytest.raises(ValueError, match=r"one file each; got 2023-01 .* after 2023-01"):
        load_trips([january, copy])


def test_zones_that_are_not_those_of_the_trips(folder: Path) -> None:
    path = _january(folder)
    others = write_zones(folder / "others", {201: "a", 202: "b", 4: "c"})
    with pytest.raises(
        ValueError, match="in zones with a polygon; got 3 of 4 in others, such as 2"
    ):
        load_trips(path, zones=others)
    with pytest.raises(ValueError, match="got 0 of 0 in others, such as unknown"):
        load_trips(_january(folder, [("2023-01-01T00:00", None, 264, 1)]))


def test_zones_are_read_as_they_are_given(folder: Path, tmp_path: Path) -> None:
    trips = _january(tmp_path)
    expected = load_trips(trips, zones=folder)
    assert load_trips(trips, zones=load_zones(folder)).identical(expected)
    assert load_trips(trips, zones=folder / "taxi_zones.shp").identical(expected)


def test_names_stay_text_also_in_a_saved_file(folder: Path, tmp_path: Path) -> None:
    odd = {2: "<script>alert('x')</script>", 4: '=HYPERLINK("http://x")'}
    write_zones(folder, odd)
    dataset = load_trips(_january(folder))
    assert dataset["zone"].values.tolist() == list(odd.values())
    dataset.to_netcdf(tmp_path / "own.nc")
    again = load_dataset(tmp_path / "own.nc")
    assert again["zone"].values.tolist() == list(odd.values())
    assert again["target"].identical(dataset["target"])


def test_trips_need_pyarrow(folder: Path, monkeypatch) -> None:
    path = _january(folder)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(
        ImportError, match=r"need pyarrow; install it with `pip install 'sttrans\[z"
    ):
        load_trips(path)


def test_a_month_is_downloaded_from_its_address(tmp_path: Path, monkeypatch) -> None:
    asked = []

    def fetch(address: str, scratch: Path, *, progress: bool) -> Path:
        asked.append(address)
        trips = [("2024-02-01T00:00:00", None, 1, 1)]
        return write_trips(scratch / address.rsplit("/", 1)[1], trips, service="green")

    monkeypatch.setattr("sttrans_core.data.download._fetch", fetch)
    file = download_trips("green", "2024-2", folder=tmp_path)
    assert asked == [
        "https://d37ci6vzurychx.cloudfront.net/trip-data/green_tripdata_2024-02.parquet"
    ]
    assert file == tmp_path / "green-tripdata-2024-02.parquet"
    zones = write_zones(tmp_path / "zones")
    notes = load_trips(file, zones=zones).attrs["notes"]
    assert re.search(
        r"Downloaded 20\S+ from https://\S+green_tripdata_2024-02.parquet; sha256", notes
    )


def test_a_download_that_is_no_month_of_trips(tmp_path: Path, monkeypatch) -> None:
    def fetch(address: str, scratch: Path, *, progress: bool) -> Path:
        (scratch / "x.parquet").write_text("<html>")
        return scratch / "x.parquet"

    monkeypatch.setattr("sttrans_core.data.download._fetch", fetch)
    with pytest.raises(
        FileNotFoundError,
        match=r"yellow_tripdata_2023-01.parquet must be reachable .*be a complete parquet file",
    ):
        download_trips("yellow", "2023-01", folder=tmp_path)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(
        ValueError, match="service must be one of yellow, green, fhv, fhvhv; got 'x"
    ):
        download_trips("x", "2023-01")
    with pytest.raises(ValueError, match="month must be a year and a month; got 'soon'"):
        download_trips("yellow", "soon")


def test_real_green_months(real_data: Path) -> None:
    files = [real_data / f"nyc-taxi/green_tripdata_2023-0{month}.parquet" for month in (1, 2, 3)]
    dataset = load_trips(files)
    assert dataset.sizes == {"time": 90 * 48, "node": 241}
    # Of 68,211 + 64,809 + 72,044 trips; counted once by hand with pandas.
    assert (
        "Trips read: 205,064. Pick-ups counted: 204,423; left out: 39 outside the month of their "
        "file, 590 in the unknown zones 264 and 265, 12 in zones without a polygon. Zones without "
        "a polygon: 57. Zones of several polygons: 56. Steps missing where clocks skip or repeat "
        "an hour: 2. Local time"
    ) in dataset.attrs["notes"]
    missing = dataset["time"].values[np.isnan(dataset["target"].values).any(axis=1)]
    assert missing.astype("M8[m]").astype(str).tolist() == ["2023-03-12T02:00", "2023-03-12T02:30"]
    frame = pd.read_parquet(files[1], columns=["lpep_pickup_datetime", "PULocationID"])
    harlem = frame[frame["PULocationID"] == 74].set_index("lpep_pickup_datetime").sort_index()
    by_hand = harlem.loc["2023-02"].resample("30min").size()
    found = dataset["target"].sel(node="74", time="2023-02").to_series()
    assert found[by_hand.index].tolist() == by_hand.tolist()


def test_real_hourly_tables_reproduce_the_reference_scores(real_data: Path) -> None:
    file = real_data / "nyc-taxi/yellow_hourly_zone_2023-01.parquet"
    dataset = load_trips(file)
    assert dataset.sizes == {"time": 744, "node": 254}
    assert float(dataset["target"].sum()) == 3_066_718 - 41_761 - 5
    # The reference counts all 257 numbers of the table: three have no polygon.
    table = pd.read_parquet(file).pivot_table("rides", "pickup_hour", "pickup_location_id")
    trips = np.concatenate([dataset["target"].values, table[[57, 264, 265]].to_numpy()], axis=1)
    first = 24 * 24  # the first hour of day 25
    # RMSE and MAE by lead in hours and lag in hours: last value, yesterday, last week.
    expected = {
        (1, 1): (14.10, 4.26),
        (12, 12): (55.41, 18.25),
        (1, 24): (18.80, 4.94),
        (1, 168): (9.38, 2.88),
        (12, 168): (9.61, 2.96),
    }
    for (lead, lag), scores in expected.items():
        steps = np.arange(first + lead, len(trips))
        errors = trips[steps] - trips[steps - lag]
        found = np.sqrt(np.mean(errors**2)), np.abs(errors).mean()
        assert found == pytest.approx(scores, abs=0.006)
