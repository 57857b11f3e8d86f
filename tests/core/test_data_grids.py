"""Grids of users: NetCDF and zarr in the spellings that go round, and what is refused of them.

Sizes are primes, one per axis, so that a swapped axis cannot fit by chance.
"""

import json
import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray as xr
from data_samples import Command
from grid_samples import COLUMNS, NORTH_TO_SOUTH, ROWS, STEPS, era, to_store

from sttrans_core.data.grid_units import temperature_unit
from sttrans_core.data.grids import from_grid
from sttrans_core.grid import as_nodes
from sttrans_core.schema import SchemaError, check_dataset
from sttrans_core.slabs import is_in_memory


# Row 0 of the file is the northernmost, which comes last: 250 + 0.1 * (15 * step + column).
def northernmost(dataset, step):
    return dataset["target"].isel(time=step, latitude=-1).values


@pytest.mark.parametrize("engine", ["h5netcdf", "scipy"])
def test_a_netcdf_file_is_a_dataset(tmp_path, engine):
    era().to_netcdf(tmp_path / "own.nc", engine=engine)
    dataset = check_dataset(from_grid(tmp_path / "own.nc", title="Mine", source="me"))
    assert is_in_memory(dataset["target"])
    assert dataset["target"].dims == ("time", "latitude", "longitude")
    assert dataset["target"].dtype == np.float32
    assert dataset["latitude"].values.tolist() == [50.0, 52.5, 55.0]
    np.testing.assert_allclose(northernmost(dataset, 2), 253 + np.arange(5) / 10)
    assert dataset.attrs == {
        "units": "K",
        "interval": "6h",
        "title": "Mine",
        "source": "me",
        "licence": "not stated",
        "synthetic": 0,
        "quantity": "temperature",
    }


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_store_stays_where_it_is(tmp_path, zarr_format):
    path = to_store(era(), tmp_path / "own.zarr", zarr_format=zarr_format)
    dataset = from_grid(path)
    assert dataset["target"].chunks is not None
    assert not is_in_memory(dataset["target"])
    nodes = as_nodes(dataset)
    assert nodes["target"].chunks is not None
    xr.testing.assert_identical(dataset.load(), from_grid(era()))
    xr.testing.assert_identical(nodes.load(), as_nodes(from_grid(era())))


def test_chunks_lie_along_time(tmp_path, monkeypatch):
    monkeypatch.setattr("sttrans_core.grid._VALUES_IN_CHUNK", 4 * ROWS * COLUMNS + 1)
    odd = (
        era().rename(time="valid_time", latitude="lat").transpose("lat", "longitude", "valid_time")
    )
    encoding = {"t2m": {"chunks": (2, 3, 2)}}
    odd.to_zarr(tmp_path / "own.zarr", encoding=encoding, consolidated=False)
    # 5 steps or more, in twos: 6 and the rest.
    assert from_grid(tmp_path / "own.zarr")["target"].chunks == ((6, 5), (3,), (5,))


def test_large_files_stay_where_they_are(tmp_path, monkeypatch):
    era().to_netcdf(tmp_path / "own.nc", engine="h5netcdf")
    expected = from_grid(tmp_path / "own.nc")
    for limit, is_read in ((4 * STEPS * ROWS * COLUMNS, True), (659, False)):
        monkeypatch.setattr("sttrans_core.data.grids._LARGEST_IN_MEMORY", limit)
        dataset = from_grid(tmp_path / "own.nc")
        assert is_in_memory(dataset["target"]) == is_read
        xr.testing.assert_identical(dataset.load(), expected)


@pytest.mark.parametrize(
    "dims",
    [
        ("valid_time", "lat", "lon"),
        ("Time", "Latitude", "Longitude"),
        ("date", "y", "x"),
        ("lat", "lon", "time"),
        ("lon", "time", "lat"),
    ],
)
def test_axes_have_many_names_and_any_order(dims):
    axes = {"l": "longitude", "x": "longitude", "la": "latitude", "y": "latitude"}
    own_names = {axes.get(dim[:2].lower(), axes.get(dim[0].lower(), "time")): dim for dim in dims}
    own = era().rename({old: new for old, new in own_names.items() if old != new}).transpose(*dims)
    xr.testing.assert_identical(from_grid(own), from_grid(era()))


def test_an_axis_may_say_what_it_is():
    own = era().rename(latitude="row").assign_coords(member=3)
    own["row"].attrs["standard_name"] = "latitude"
    xr.testing.assert_identical(from_grid(own), from_grid(era()))


def test_longitudes_that_pass_the_turn_are_unrolled():
    date_line = [175.0, 177.5, 180.0, -177.5, -175.0]
    for crossing, west in (([355.0, 357.5, 0.0, 2.5, 5.0], -5.0), (date_line, -185.0)):
        dataset = from_grid(era().assign_coords(longitude=np.float32(crossing)))
        assert dataset["longitude"].values.tolist() == (west + 2.5 * np.arange(5)).tolist()
        np.testing.assert_array_equal(dataset["target"].values, from_grid(era())["target"].values)


def test_packed_numbers_are_decoded(tmp_path):
    own = era()
    own["t2m"][3, 1, 2] = np.nan
    packed = {"dtype": "int16", "scale_factor": 0.1, "add_offset": 250.0, "_FillValue": -1}
    own.to_netcdf(tmp_path / "own.nc", engine="h5netcdf", encoding={"t2m": packed})
    dataset = from_grid(tmp_path / "own.nc")
    assert np.flatnonzero(np.isnan(dataset["target"].values)).tolist() == [3 * 15 + 1 * 5 + 2]
    np.testing.assert_allclose(northernmost(dataset, 2), 253 + np.arange(5) / 10, rtol=1e-6)


@pytest.mark.parametrize("name", ["t2m", "2m_temperature", "air", "t", "tas", "temperature", "T"])
def test_temperatures_have_many_names(name):
    own = era(name).assign(u10=era()["t2m"] * 0, lat_bnds=("latitude", [0.0, 1.0, 2.0]))
    xr.testing.assert_identical(from_grid(own), from_grid(era()))


def test_a_name_finds_its_other_spellings():
    own = era().assign(t=era()["t2m"] + 5)
    xr.testing.assert_identical(from_grid(own, variable="2m_temperature"), from_grid(era()))
    assert float(from_grid(own, variable="temperature")["target"][0, -1, 0]) == 255
    assert float(from_grid(own, variable="t")["target"][0, -1, 0]) == 255


def test_other_readings_keep_their_units():
    own = era("tp", units="m", long_name="Total precipitation")
    dataset = from_grid(own)
    assert (dataset.attrs["units"], dataset.attrs["quantity"]) == ("m", "total precipitation")
    assert from_grid(own, quantity="rain").attrs["quantity"] == "rain"
    assert from_grid(era("tp", units=None), units="mm").attrs["units"] == "mm"


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        *((text, "K") for text in ("K", "kelvin", "Kelvin", "degK", "deg_K", "degrees kelvin")),
        *((text, "degC") for text in ("degC", "C", "Celsius", "°C", "℃", "degrees_celsius")),
        *((text, None) for text in ("degF", "F", "", "1", "degree", "K m", "m", "degrees")),
    ],
)
def test_spellings_of_temperature_units(text, unit):
    assert temperature_unit(text) == unit


def test_temperatures_are_converted_when_asked_for():
    kelvin = from_grid(era(units="degrees Kelvin"))
    assert kelvin.attrs["units"] == "K"
    celsius = from_grid(era(), units="°C")
    assert celsius.attrs["units"] == "degC"
    np.testing.assert_allclose(celsius["target"], kelvin["target"] - 273.15, atol=1e-4)
    own = era(units="Celsius")
    own["t2m"] -= 273.15
    own["t2m"].attrs["units"] = "Celsius"
    assert from_grid(own).attrs["units"] == "degC"
    np.testing.assert_allclose(from_grid(own, units="K")["target"], kelvin["target"], rtol=1e-6)
    # A unit that the file leaves out is taken as it is stated.
    xr.testing.assert_identical(from_grid(era(units=None), units="K"), kelvin)


def test_differences_of_temperature_are_left_alone():
    own = era()
    own["t2m"] = (own["t2m"] - 266).assign_attrs(units="K")
    dataset = from_grid(own, quantity="temperature anomaly")
    assert dataset.attrs["units"] == "K"
    assert float(dataset["target"].min()) == -16


def levels(values, *, name="level", **attrs):
    several = xr.concat([era("t")["t"] + 10 * i for i in range(len(values))], name)
    return several.assign_coords({name: (name, values, attrs)}).assign_attrs(units="K").to_dataset(
        name="t"
    )  # fmt: skip


@pytest.mark.parametrize(
    "own",
    [
        levels([500, 850, 1000]),
        levels([50_000.0, 85_000.0, 100_000.0], name="plev", units="Pa"),
        levels([500.0, 850.0, 1000.0], name="isobaricInhPa", units="hPa"),
    ],
)
def test_a_level_is_in_hectopascal(own):
    dataset = from_grid(own, level=850)
    np.testing.assert_allclose(northernmost(dataset, 2), 263 + np.arange(5) / 10, rtol=1e-6)
    assert dataset.attrs["notes"] == "At 850 hPa."
    assert "level" not in dataset.coords
    single = own.isel({next(iter({"level", "plev", "isobaricInhPa"} & set(own.dims))): [1]})
    xr.testing.assert_identical(from_grid(single)["target"], dataset["target"])
    xr.testing.assert_identical(from_grid(single.squeeze(), level=850), dataset)


def test_several_files_follow_each_other_in_time(tmp_path):
    names = []
    for number, first in enumerate(("2024-01-03 18:00", "2024-01-01")):
        own = era(first=first)
        own["t2m"] = own["t2m"] + 20 * number
        own["t2m"].attrs["units"] = "K"
        names.append(tmp_path / f"{number}.nc")
        own.to_netcdf(names[-1], engine="h5netcdf")
    dataset = from_grid(names)
    # 11 steps from 1 January 0 h end on 3 January 12 h.
    assert dataset.sizes["time"] == 22
    assert dataset["target"].values[[0, 11], -1, 0].tolist() == [270, 250]
    assert "notes" not in dataset.attrs


def test_absent_steps_are_put_in(tmp_path):
    gap = era().isel(time=[0, 1, 2, 5, 6, 7, 8, 9])
    stored = to_store(gap, tmp_path / "own.zarr")
    for own in (gap, stored):
        dataset = from_grid(own)
        assert dataset.sizes["time"] == 10
        assert np.isnan(dataset["target"].values).any((1, 2)).nonzero()[0].tolist() == [3, 4]
        assert dataset.attrs["notes"] == "Absent time steps put in as missing readings: 2."
    assert from_grid(era().isel(time=[0, 1, 3]), interval="6h").sizes["time"] == 4


def _with(dataset, **coords):
    return dataset.assign_coords(coords)


@pytest.mark.parametrize(
    ("own", "options", "message"),
    [
        (
            era().assign(tas=era()["t2m"], u10=era()["t2m"]), {},
            r"name the readings to take from the grid; got variable=None with t2m, tas\. Name",
        ),
        (
            era("u10", units="m s**-1").assign(v10=era()["t2m"]), {},
            "got variable=None with u10, v10",
        ),
        (era(), {"variable": "wind"}, "got variable='wind' with t2m"),
        (
            era().drop_vars("latitude"), {},
            r"each with its coordinate; got t2m over \(time, latitude, longitude\) in the grid",
        ),
        (
            era().rename(latitude="j").assign_coords(lat=("j", NORTH_TO_SOUTH)), {},
            "grids with rows of one latitude and columns of one longitude",
        ),
        (era(units=None), {}, r"have a unit; got 't2m' without units in the grid.*units='K'"),
        (era(units="degF"), {}, "in K or degC; got units 'degF' for 't2m' in the grid"),
        (era(), {"units": "degF"}, r"got units 'K' for 't2m' in the grid and units='degF'\. Conv"),
        (era("tp", units="m"), {"units": "mm"}, "Only temperatures are converted.*'mm' for 'tp'"),
        (
            era(units="degC"), {},
            r"in degC must lie between -170 and 125; got 250 to 266\.4 for 't2m'.*if they are in K",
        ),
        (
            era().map(lambda v: (v - 240).assign_attrs(units="K")), {},
            r"in K must lie between 100 and 400; got 10 to 26\.4 for 't2m'.*if they are in degC",
        ),
        (
            # A mark of missing readings that the file does not name.
            era().map(lambda v: v.where(v != 250, 1e20).assign_attrs(units="K")), {},
            r"got 250\.1 to 1e\+20 for 't2m'.*mark missing readings with NaN",
        ),
        (levels([500, 850]), {}, r"level must be one of .* 500, 850; got level=None\. Choose one"),
        (levels([500, 850]), {"level": 700}, r"500, 850; got level=700\. Choose one"),
        (era(), {"level": 850}, "level must be None for readings without levels; got level=850"),
        (
            era().expand_dims(number=2), {},
            r"time, latitude and longitude only; got 2 along 'number' for 't2m' in the grid",
        ),
        (_with(era(), latitude=[55.0, 52.5, 51.0]), {}, r"^In the grid: 'latitude' .* evenly"),
        (
            era(latitude=[60.0, 57.5, 55.0, 50.0, 47.5]), {},
            r"^In the grid: 'latitude' of a grid must have no gaps; .* without 52\.5\. Put",
        ),
        (_with(era(), latitude=[52.5, 55.0, 50.0]), {}, "'latitude' of a grid must ascend"),
        (_with(era(), latitude=[91.0, 90.0, 89.0]), {}, "'latitude' must be finite and within 90"),
        (_with(era(), latitude=[np.nan, 90.0, 89.0]), {}, "'latitude' must be finite and within"),
        (era().isel(time=[0, 1, 1, 2]), {}, "strictly increasing in the grid; got .* twice"),
        (era().isel(time=[0, 2, 1]), {}, "strictly increasing in the grid; got .* after"),
        (
            _with(era(), time=np.arange(STEPS)), {},
            r"Times must be of the usual calendar in the grid; got int64 such as \[0\]",
        ),
        (era().map(lambda v: v.where(False).assign_attrs(units="K")), {}, "one observed reading"),
        ([], {}, "There must be a file to read a grid from; got none"),
    ],
)  # fmt: skip
def test_what_cannot_be_told_is_refused(own, options, message):
    with pytest.raises(ValueError, match=message):
        from_grid(own, **options)


def test_a_store_is_refused_for_its_units_and_places(tmp_path):
    own = era().map(lambda v: (v - 240).assign_attrs(units="K"))
    with pytest.raises(ValueError, match=r"in K must lie .* for 't2m' in warm\.zarr"):
        from_grid(to_store(own, tmp_path / "warm.zarr"))
    gap = era(latitude=[60.0, 57.5, 55.0, 50.0])
    with pytest.raises(SchemaError, match=r"^In gap\.zarr: 'latitude' .* without 52\.5"):
        from_grid(to_store(gap, tmp_path / "gap.zarr"))


def test_files_that_disagree_are_both_named(tmp_path):
    own = era(first="2024-02-01", units="degC")
    own["t2m"] = (own["t2m"] - 270).assign_attrs(units="degC")
    era().to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    own.to_netcdf(tmp_path / "b.nc", engine="h5netcdf")
    names = [tmp_path / "b.nc", tmp_path / "a.nc"]
    with pytest.raises(ValueError, match=r"agree in their units; got K in a\.nc and degC in b\.nc"):
        from_grid(names)
    assert from_grid(names, units="K", interval="6h").attrs["units"] == "K"
    era(first="2024-02-01", latitude=NORTH_TO_SOUTH + 1).to_netcdf(
        tmp_path / "c.nc", engine="h5netcdf"
    )
    with pytest.raises(ValueError, match=r"got other values of 'latitude' in c\.nc than in a\.nc"):
        from_grid([tmp_path / "a.nc", tmp_path / "c.nc"])


@pytest.mark.parametrize("kept", [0.3, 0.9])
@pytest.mark.parametrize("engine", ["h5netcdf", "scipy"])
def test_damaged_files_are_refused(tmp_path, engine, kept):
    path = tmp_path / "own.nc"
    era(steps=199).to_netcdf(path, engine=engine)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(ValueError, match=r"^own\.nc must be a whole NetCDF file; got one that ca"):
        from_grid(path)
    assert path.stat().st_size == int(kept * len(content))


def test_damage_that_shows_when_readings_are_read(tmp_path):
    path = tmp_path / "own.nc"
    era(steps=199).to_netcdf(path, engine="h5netcdf", encoding={"t2m": {"zlib": True}})
    with h5py.File(path) as file:
        first = file["t2m"].id.get_chunk_info(0).byte_offset
    content = bytearray(path.read_bytes())
    content[first : first + 400] = bytes(400)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"^own\.nc must be a whole NetCDF file; got one that ca"):
        from_grid(path)


def test_other_files_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"A file of a grid must exist; got .*own\.nc, "):
        from_grid(tmp_path / "own.nc")
    with pytest.raises(ValueError, match=r"must be a zarr store; got .* without zarr\.json or"):
        from_grid(tmp_path)
    for start, todo in ((b"GRIB\0", "engine='cfgrib'"), (b"PK\3\4", "Convert it to NetCDF")):
        (tmp_path / "own.grib").write_bytes(start)
        with pytest.raises(ValueError, match=rf"got own\.grib, which starts with b.*{todo}"):
            from_grid(tmp_path / "own.grib")
    (tmp_path / "own.nc").write_bytes(b"")
    with pytest.raises(ValueError, match=r"got own\.nc, which starts with b''"):
        from_grid(tmp_path / "own.nc")


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_damaged_stores_are_refused(tmp_path, zarr_format):
    path = to_store(era(), tmp_path / "own.zarr", zarr_format=zarr_format)
    part = path / {2: "t2m/.zarray", 3: "t2m/zarr.json"}[zarr_format]
    part.write_bytes(part.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"^own\.zarr must be a whole zarr store; got one that ca"):
        from_grid(path)


@pytest.mark.parametrize(
    "pickled",
    [
        {"filters": [{"id": "pickle"}]},
        {"filters": [{"id": "vlen-utf8"}, {"id": "pickle"}]},
        {"filters": [{"id": "vlen-utf8"}], "compressor": {"id": "pickle"}},
    ],
)
def test_nothing_in_a_store_is_run(tmp_path, pickled, monkeypatch):
    # Older numcodecs unpickle whatever they read; newer ones only where this is set.
    monkeypatch.setattr("numcodecs.pickles.ALLOW_PICKLE_DECODE", True, raising=False)
    path, trace = to_store(era(), tmp_path / "own.zarr", zarr_format=2), tmp_path / "trace"
    (path / "member").mkdir()
    fields = {"zarr_format": 2, "shape": [1], "chunks": [1], "dtype": "|O", "order": "C"}
    more = {"fill_value": None, "filters": None, "compressor": None}
    (path / "member" / ".zarray").write_text(json.dumps(fields | more | pickled))
    (path / "member" / ".zattrs").write_text('{"_ARRAY_DIMENSIONS": ["member"]}')
    (path / "member" / "0").write_bytes(pickle.dumps(Command(f"touch {trace}")))
    with pytest.raises(ValueError, match=r"^own\.zarr must be a whole zarr store; .*pickle"):
        from_grid(path)
    assert not trace.exists()


def test_a_store_on_the_web_is_read_where_it_is_looked_at(web, monkeypatch):
    monkeypatch.setattr("sttrans_core.grid._VALUES_IN_CHUNK", 1)
    folder, address, asked = web
    own = era(steps=199).rename(t2m="2m_temperature").assign(wind=era(steps=199)["t2m"] * 0)
    encoding = {name: {"chunks": (50, ROWS, COLUMNS)} for name in own.data_vars}
    own.to_zarr(folder / "own.zarr", zarr_format=2, consolidated=True, encoding=encoding)
    dataset = from_grid(f"{address}/own.zarr/")
    # To hold the unit against the values, the first and the last step are looked at.
    chunks = {name for name in asked if name.endswith(".0.0")}
    assert chunks == {f"/own.zarr/2m_temperature/{number}.0.0" for number in (0, 3)}
    xr.testing.assert_identical(dataset.load(), from_grid(own))
    with pytest.raises(ValueError, match=r"other\.zarr must be a whole zarr store with consolidat"):
        from_grid(f"{address}/other.zarr")


def test_an_address_that_cannot_be_reached():
    for address in ("http://127.0.0.1:9/own.zarr", "https://example.org/own.zarr"):
        with pytest.raises(FileNotFoundError, match=rf"must be reachable; got {address} \(no conn"):
            from_grid(address)


def test_real_grids(real_data: Path) -> None:
    # Read with xarray alone: the first reading is the one at 75 N 200 E, the last at 15 N 330 E.
    air = from_grid(real_data / "ncep-air" / "air_temperature.zarr")
    assert air["target"].shape == (2920, 25, 53)
    assert not is_in_memory(air["target"])
    plain = xr.open_zarr(real_data / "ncep-air" / "air_temperature.zarr", chunks=None)["air"]
    target = air["target"].sel(latitude=75.0, longitude=200.0)
    np.testing.assert_allclose(target[:9].values, plain[:9, 0, 0].values, rtol=1e-6)
    assert (air.attrs["units"], air.attrs["interval"]) == ("K", "6h")
    ids = as_nodes(air)["node"].values
    assert (ids[0], ids[-1], len(ids)) == ("15N 160W", "75N 30W", 25 * 53)
    uk = check_dataset(from_grid(real_data / "era5-uk" / "2m_temperature_2019-03_uk.nc"))
    assert uk["target"].shape == (744, 33, 49)
    assert (uk.attrs["units"], uk.attrs["interval"]) == ("K", "1h")
    # Packed as int16 in steps of 0.001 K around 280 K.
    assert 265 < float(uk["target"].min()) < float(uk["target"].max()) < 300
    celsius = from_grid(real_data / "era5-uk" / "2m_temperature_2019-03_uk.nc", units="degC")
    assert float(abs(celsius["target"] + 273.15 - uk["target"]).max()) < 1e-4
