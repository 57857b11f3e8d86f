"""Simulated weather whose causes are known: temperature that a known wind carries along."""

from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from sttrans_core.schema import check_dataset
from sttrans_core.truth.trajectories import cells_per_step, step_back

__all__ = ["simulate_weather"]

SOUTH, WEST = 40.0, -40.0
LATITUDE_STEP, LONGITUDE_STEP = 0.5, 0.75  # nearly square there, 55 by 60 km
# Around the grid, which wraps round: what is blown in comes from there and was never seen.
MARGIN = 12
SPIN_UP_HOURS = 48
# The wind: a mean flow that veers slowly, and waves of its stream function, in m/s.
MEAN_WIND, VEER = (8.0, 0.5), (1.5, 2.0)
WAVES, WAVE_WIND = 10, 3.0
SHORTEST_PERIOD_HOURS, LONGEST_PERIOD_HOURS = 72.0, 240.0
# Anomalies: how large, how wide and how long they live; where they are is up to the wind.
ANOMALY_K, ANOMALY_CELLS, MEMORY_HOURS = 3.0, 2.0, 120.0
MEAN_K, COOLING_PER_DEGREE, DIURNAL_K, WARMEST_HOUR = 286.0, 0.6, 2.0, 15.0
NOISE_K = 0.2


class _Wind(NamedTuple):
    """Waves over the wrapped grid whose phases drift; all that the wind is made of.

    Attributes:
        wave: Whole waves round the grid, (row or column, wave).
        phase: At the start, (wave,).
        drift: Of the phase per hour, (wave,).
        turn: Phase of the veering of the mean flow, (east or north,).
    """

    wave: np.ndarray
    phase: np.ndarray
    drift: np.ndarray
    turn: np.ndarray

    def at(self, hour: float, shape: tuple[int, int]) -> np.ndarray:
        """Give the wind in m/s, (east or north, row, column)."""
        along = 2 * np.pi * self.wave / np.array(shape)[:, None]  # phase per cell
        rows, columns = (
            np.exp(1j * np.arange(size)[:, None] * each)
            for size, each in zip(shape, along, strict=True)
        )
        columns = columns * np.exp(1j * (self.phase + self.drift * hour)) / np.hypot(*along)
        # East is minus the slope of the stream function northwards, north its slope eastwards.
        waves = np.stack([-(rows * along[0]) @ columns.T, (rows * along[1]) @ columns.T])
        veer = np.cos(self.turn + 2 * np.pi * hour / np.array([144.0, 120.0]))
        mean = np.array(MEAN_WIND) + np.array(VEER) * veer
        return mean[:, None, None] + WAVE_WIND * np.sqrt(2 / WAVES) * np.real(waves)


def simulate_weather(
    *,
    days: int = 120,
    rows: int = 16,
    columns: int = 24,
    seed: int = 0,
    start: str = "2024-01-01",
) -> xr.Dataset:
    """Simulate hourly temperatures on a grid, with the wind that carries them beside them.

    Warm and cold air arises everywhere, lives for days, and is carried by a wind that changes
    slowly in space and time; the time of day and the latitude add what does not move. So what will
    be somewhere in some hours is now upwind of it. Air that is blown in over the edge was not seen
    before.

    Card: 16 x 24 cells of 0.5 x 0.75 degrees, 2,880 steps of 1 h, K, none missing by default;
    generated, no real place; the project's licence.

    Args:
        days: Days, at least 1.
        rows: Cells from south to north, at least 3 and at most 90.
        columns: Cells from west to east, at least 3 and at most 440.
        seed: The same seed gives the same data, to the last bit on one machine.
        start: First day.

    Returns:
        A grid dataset with the variables `noiseless`, the true temperature, and `wind_east` and
        `wind_north` in m/s, all over (time, latitude, longitude).

    Raises:
        ValueError: An argument is outside its range.

    Source: generated; semi-Lagrangian advection as in A. Staniforth, J. Côté, Monthly Weather
        Review 119 (1991).
    """
    _check_arguments(days, rows, columns)
    rng = np.random.default_rng(seed)
    shape = (rows + 2 * MARGIN, columns + 2 * MARGIN)
    inner = (..., slice(MARGIN, MARGIN + rows), slice(MARGIN, MARGIN + columns))
    latitude = SOUTH + LATITUDE_STEP * np.arange(rows)
    longitude = WEST + LONGITUDE_STEP * np.arange(columns)
    wind = _draw_wind(rng)
    winds = np.stack([wind.at(hour, shape) for hour in range(24 * days)])  # (T, 2, R, C)
    anomaly = _carried(winds, _margin_latitude(rows), rng)[inner]
    time = pd.date_range(pd.Timestamp(start).normalize(), periods=24 * days, freq="h")
    noiseless = (anomaly + _climate(time, latitude, longitude)).astype(np.float32)
    target = noiseless + rng.normal(0, NOISE_K, noiseless.shape).astype(np.float32)
    dims = ("time", "latitude", "longitude")
    dataset = xr.Dataset(
        {
            "target": (dims, target),
            "noiseless": (dims, noiseless),
            "wind_east": (dims, winds[:, 0][inner].astype(np.float32), {"units": "m/s"}),
            "wind_north": (dims, winds[:, 1][inner].astype(np.float32), {"units": "m/s"}),
        },
        coords={
            "time": time.to_numpy().astype("datetime64[ns]"),
            "latitude": latitude,
            "longitude": longitude,
        },
        attrs={
            "units": "K",
            "interval": "1h",
            "quantity": "temperature",
            "title": f"Simulated weather, {rows} x {columns} cells",
            "source": f"temperature carried by a known wind, seed {seed}",
            "licence": "BSD-3-Clause",
            "synthetic": 1,
            "seed": seed,
            "notes": "Not a real place: no such weather was ever measured.",
            "citation": "A. Staniforth, J. Côté, Monthly Weather Review 119 (1991) 2206-2223",
        },
    )
    return check_dataset(dataset)


def _check_arguments(days: int, rows: int, columns: int) -> None:
    if days < 1:
        raise ValueError(f"days must be at least 1; got {days}. Ask for a longer period.")
    # Beyond these the grid would reach the pole, or all round.
    if not (3 <= rows <= 90 and 3 <= columns <= 440):
        raise ValueError(
            "rows must be between 3 and 90, and columns between 3 and 440; got "
            f"{rows} and {columns}. Ask for a grid between these."
        )


def _margin_latitude(rows: int) -> np.ndarray:
    """Give the latitudes with the margin; all of it is as wide as the nearest row of the grid."""
    return SOUTH + LATITUDE_STEP * np.clip(np.arange(rows + 2 * MARGIN) - MARGIN, 0, rows - 1)


def _draw_wind(rng: np.random.Generator) -> _Wind:
    """Draw waves of one to three lengths round the grid in both directions."""
    wave = np.stack([rng.integers(-2, 3, WAVES), rng.integers(1, 4, WAVES)])
    period = rng.uniform(SHORTEST_PERIOD_HOURS, LONGEST_PERIOD_HOURS, WAVES)
    return _Wind(
        wave=wave,
        phase=rng.uniform(0, 2 * np.pi, WAVES),
        drift=2 * np.pi / period * rng.choice([-1, 1], WAVES),
        turn=rng.uniform(0, 2 * np.pi, 2),
    )


def _carried(winds: np.ndarray, latitude: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Carry anomalies along, which fade and arise all the time, (time, row, column)."""
    from scipy.ndimage import map_coordinates, spline_filter

    shape = winds.shape[2:]
    keep = np.exp(-1 / MEMORY_HOURS)
    spectrum = _smooth_spectrum(shape)
    cells = np.indices(shape).reshape(2, -1).astype(float)
    field = _smooth_noise(spectrum, rng)
    # Before the first hour, anomalies of all ages form under the wind of the first hour.
    before = [winds[0]] * SPIN_UP_HOURS
    fields = []
    for earlier, later in zip([*before, *winds[:-1]], [*before[1:], *winds], strict=True):
        flow = cells_per_step(
            (earlier + later) / 2, latitude, LATITUDE_STEP, LONGITUDE_STEP, hours=1.0
        )
        origin = step_back(cells, flow, wraps=True)
        smooth = spline_filter(field, order=3, mode="grid-wrap")
        moved = map_coordinates(smooth, origin, order=3, mode="grid-wrap", prefilter=False)
        field = keep * moved.reshape(shape) + np.sqrt(1 - keep**2) * _smooth_noise(spectrum, rng)
        fields.append(field)
    return ANOMALY_K * np.stack(fields[SPIN_UP_HOURS - 1 :])


def _smooth_spectrum(shape: tuple[int, int]) -> np.ndarray:
    """Give the amplitudes of a field of unit variance with bumps of ANOMALY_CELLS."""
    north, east = (np.fft.fftfreq(size) for size in shape)
    width = 2 * np.pi * ANOMALY_CELLS
    amplitude = np.exp(-(width**2) * (north[:, None] ** 2 + east**2) / 2)
    return amplitude / np.sqrt((amplitude**2).mean())


def _smooth_noise(spectrum: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.fft.ifft2(np.fft.fft2(rng.normal(size=spectrum.shape)) * spectrum).real


def _climate(time: pd.DatetimeIndex, latitude: np.ndarray, longitude: np.ndarray) -> np.ndarray:
    """Give what does not move: it is colder in the north, and warmest in the afternoon."""
    local_hour = time.hour.to_numpy()[:, None] + longitude / 15
    of_day = DIURNAL_K * np.cos(2 * np.pi * (local_hour - WARMEST_HOUR) / 24)
    of_place = MEAN_K - COOLING_PER_DEGREE * (latitude - SOUTH)
    return of_place[:, None] + of_day[:, None, :]
