"""Units of gridded readings: temperatures in K and degC however they are spelled, others kept."""

import re

import numpy as np
import xarray as xr

from sttrans_core.slabs import is_in_memory

__all__ = ["settle_units", "temperature_unit"]

_SPELLINGS = {"k": "K", "kelvin": "K", "kelvins": "K", "c": "degC", "celsius": "degC"}
_KELVIN_AT_ZERO = 273.15
# What air at any height can be, with room on both sides.
_POSSIBLE = {"K": (100.0, 400.0), "degC": (-170.0, 125.0)}


def temperature_unit(text: str) -> str | None:
    """Read the unit of a temperature.

    Args:
        text: As a file spells it, such as "K", "kelvin", "degK", "degrees_Celsius" or "°C".

    Returns:
        `K`, `degC`, or None where it is neither.
    """
    plain = re.sub(r"[\s_]", "", text.lower()).replace("℃", "°c")
    return _SPELLINGS.get(re.sub(r"^(degrees?|deg|°)", "", plain))


def settle_units(
    readings: xr.DataArray, *, asked: str | None, is_temperature: bool, where: str
) -> xr.DataArray:
    """Give readings with one spelling of their unit, converted where another one is asked for.

    Args:
        readings: With `attrs["units"]` as in the file. Of readings in a store, the first and the
            last step are looked at.
        asked: Unit to give, or the unit that the file leaves out; None keeps that of the file.
        is_temperature: Whether they are temperatures, which are only taken in K or degC.
        where: Name of the file for messages.

    Returns:
        The readings, with `attrs["units"]`.

    Raises:
        ValueError: The unit is missing, unknown, cannot be converted, or contradicts the values.
    """
    stated = str(readings.attrs.get("units", "")).strip()
    name = readings.name
    if not stated and asked is None:
        raise ValueError(
            f"Readings must have a unit; got {name!r} without units in {where}. "
            "State it with units=, such as units='K'."
        )
    if not is_temperature:
        if asked is not None and stated not in {"", asked}:
            raise ValueError(
                f"Only temperatures are converted, between K and degC; got units={asked!r} for "
                f"{name!r} in {stated!r} in {where}. Leave units out, or convert them first."
            )
        return readings.assign_attrs(units=stated or asked)
    kinds = [temperature_unit(text) for text in (stated or asked, asked or stated) if text]
    if None in kinds:
        raise ValueError(
            f"Temperatures must be in K or degC; got units {(stated or asked)!r} for {name!r} in "
            f"{where}{f' and units={asked!r}' if asked and stated else ''}. Convert them first, or "
            "correct the attribute 'units'."
        )
    has, gives = (str(kind) for kind in kinds)
    _refuse_impossible(readings, has, where=where)
    if has != gives:
        readings = readings + (_KELVIN_AT_ZERO if gives == "K" else -_KELVIN_AT_ZERO)
    return readings.assign_attrs(units=gives)


def _refuse_impossible(readings: xr.DataArray, unit: str, *, where: str) -> None:
    sample = readings if is_in_memory(readings) else readings.isel(time=[0, -1])
    values = sample.values
    values = values[np.isfinite(values)]
    lowest, highest = _POSSIBLE[unit]
    if values.size and not (lowest <= values.min() and values.max() <= highest):
        other = "degC" if unit == "K" else "K"
        raise ValueError(
            f"Temperatures in {unit} must lie between {lowest:g} and {highest:g}; got "
            f"{values.min():g} to {values.max():g} for {readings.name!r} in {where}. Correct the "
            f"unit if they are in {other}, and mark missing readings with NaN; for differences of "
            "temperatures, pass quantity='temperature anomaly'."
        )
