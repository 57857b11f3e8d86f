"""Beijing air quality: hourly PM2.5 of 12 stations, with other pollutants and weather."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from sttrans_core.data.archives import read_members
from sttrans_core.data.frames import label_readings, numeric_frame
from sttrans_core.data.locations import join_locations, read_locations
from sttrans_core.data.times import regular_frame
from sttrans_core.schema import check_dataset

__all__ = ["load_beijing_air"]

_MEMBERS = r"PRSA_Data_.+\.csv"
_UNITS = {
    "PM10": "ug/m3",
    "SO2": "ug/m3",
    "NO2": "ug/m3",
    "CO": "ug/m3",
    "O3": "ug/m3",
    "TEMP": "degC",
    "PRES": "hPa",
    "DEWP": "degC",
    "RAIN": "mm",
    "WSPM": "m/s",
}
_WIND = ("wind_east", "wind_north")
_POINTS = (
    *("N", "NNE", "NE", "ENE", "E", "ESE", "SE", "SSE"),
    *("S", "SSW", "SW", "WSW", "W", "WNW", "NW", "NNW"),
)
_COMPASS = {point: 22.5 * number for number, point in enumerate(_POINTS)}  # degrees, clockwise
# Public places of the stations of the city's network, to about 1 km: latitude, longitude.
_STATIONS = {
    "Aotizhongxin": (39.982, 116.397),
    "Changping": (40.217, 116.230),
    "Dingling": (40.292, 116.220),
    "Dongsi": (39.929, 116.417),
    "Guanyuan": (39.929, 116.339),
    "Gucheng": (39.914, 116.184),
    "Huairou": (40.328, 116.628),
    "Nongzhanguan": (39.937, 116.461),
    "Shunyi": (40.127, 116.655),
    "Tiantan": (39.886, 116.407),
    "Wanliu": (39.987, 116.287),
    "Wanshouxigong": (39.878, 116.352),
}


def load_beijing_air(path: Path) -> xr.Dataset:
    """Read the stations from their archive, which is never unpacked to disk.

    Card: 12 stations, 35,064 steps of an hour, March 2013 to February 2017, ug/m3, 2 % of PM2.5
    missing; CC BY 4.0.

    Args:
        path: The zip archive of one `PRSA_Data_STATION_....csv` a station. The places are read
            from `station_coordinates.csv` beside it, where that is there.

    Returns:
        The dataset: `target` is PM2.5; `covariates(time, node, covariate)` are the other readings,
        with the wind as the two components of its velocity, towards the east and the north, in
        place of its compass text; `covariate_units(covariate)`.

    Raises:
        ValueError: The archive is damaged or unsafe, a column is missing, a reading is no number,
            times are not hourly, a station comes twice or has no place.
        FileNotFoundError: There is no such file.

    Source: S. Zhang et al., Proceedings of the Royal Society A 473 (2017) 20170457; UCI Machine
        Learning Repository, data set 501.
    """
    tables: dict[str, pd.DataFrame] = {}
    num_filled = 0
    for name, content in read_members(path, _MEMBERS):
        station, table = _read_station(name, content)
        table, _, num_absent = regular_frame(table, interval="1h", where=name)
        num_filled += num_absent
        if station in tables:
            raise ValueError(
                f"A station must have one table in {path.name}; got two of {station!r}. "
                "Use the archive as it was published."
            )
        tables[station] = table
    if not tables:
        raise ValueError(
            f"{path.name} must hold tables named PRSA_Data_STATION_....csv; got none. Use the "
            "inner archive, PRSA2017_Data_20130301-20170228.zip, where it was packed twice."
        )
    together = pd.concat(tables, axis=1, names=["station", "reading"])
    together = together.asfreq("h")
    ids = list(tables)
    readings = {
        name: together.xs(name, axis=1, level="reading")[ids].to_numpy(np.float32)
        for name in ("PM2.5", *_UNITS, *_WIND)
    }
    beside = path.parent / "station_coordinates.csv"
    known = pd.DataFrame.from_dict(_STATIONS, orient="index", columns=["latitude", "longitude"])
    locations = read_locations(beside) if beside.is_file() else known
    notes = [f"Absent rows put in as missing readings: {num_filled}."] if num_filled else []
    dataset = label_readings(
        readings.pop("PM2.5"),
        time=pd.DatetimeIndex(together.index),
        locations=join_locations(ids, locations, where="the places of the stations"),
        covariates=readings,
        notes=[
            *notes,
            "Local time (UTC+8); places of the stations to about 1 km.",
            "The wind components point to where it blows.",
        ],
        attrs={
            "title": f"Beijing, PM2.5 at {len(ids)} stations, "
            f"{together.index[0]:%Y-%m-%d} to {together.index[-1]:%Y-%m-%d}",
            "units": "ug/m3",
            "quantity": "PM2.5",
            "valid_min": 0.0,
            "source": "Beijing Municipal Environmental Monitoring Center and China Meteorological "
            "Administration, through the UCI Machine Learning Repository",
            "licence": "CC BY 4.0",
            "citation": "S. Zhang, B. Guo, A. Dong, J. He, Z. Xu, S. X. Chen: Cautionary tales on "
            "air-quality improvement in Beijing. Proceedings of the Royal Society A 473 (2017).",
            "synthetic": 0,
        },
    )
    units = [*_UNITS.values(), *("m/s" for _ in _WIND)]
    return check_dataset(dataset.assign_coords(covariate_units=("covariate", units)))


def _read_station(name: str, content: bytes) -> tuple[str, pd.DataFrame]:
    try:
        table = pd.read_csv(io.BytesIO(content))
    except (UnicodeDecodeError, ValueError) as error:  # pandas' own errors are ValueErrors
        raise ValueError(
            f"{name} must be a CSV table; got {error}. Use the archive as it was published."
        ) from error
    needed = ["year", "month", "day", "hour", "PM2.5", *_UNITS, "wd", "station"]
    missing = [column for column in needed if column not in table.columns]
    if missing or table.empty or table["station"].nunique(dropna=False) != 1:
        raise ValueError(
            f"{name} must hold the readings of one station in the columns {', '.join(needed)}; got "
            f"{len(table)} rows without {', '.join(missing) or 'one station'}. Use the archive as "
            "it was published."
        )
    time = pd.DatetimeIndex(pd.to_datetime(table[needed[:4]], errors="coerce"))
    frame = numeric_frame(table[["PM2.5", *_UNITS]].set_axis(time, axis=0), where=name)
    unknown = table["wd"][table["wd"].notna() & ~table["wd"].isin(list(_COMPASS))]
    if len(unknown):
        raise ValueError(
            f"Wind must come from one of {', '.join(_COMPASS)} in {name}; got "
            f"{unknown.iloc[0]!r}. Correct the cell or leave it empty."
        )
    # A wind is named after where it comes from, so its velocity points the other way.
    angle = np.deg2rad(table["wd"].map(_COMPASS).to_numpy(np.float64))
    speed = frame["WSPM"].to_numpy()
    frame["wind_east"], frame["wind_north"] = -speed * np.sin(angle), -speed * np.cos(angle)
    return str(table["station"].iloc[0]), frame
