"""How sensors are joined: adjacency matrices from pickles, road distances or locations."""

import io
import pickle
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from sttrans_core.data.frames import id_text
from sttrans_core.data.locations import read_rows
from sttrans_core.space.geometry import haversine_km, nearest_nodes

__all__ = [
    "adjacency_from_distances",
    "adjacency_from_locations",
    "read_adjacency_pickle",
    "read_distances",
    "select_adjacency",
]

_SMALLEST_WEIGHT = 0.1
_NEIGHBOURS = 10


class _ListUnpickler(pickle.Unpickler):
    """Builds lists, dicts, text, numbers and numpy arrays, and refuses every other object."""

    def find_class(self, module: str, name: str) -> object:
        module = module.replace("numpy._core", "numpy.core")
        allowed = {
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): np.dtype,
            ("numpy.core.multiarray", "_reconstruct"): _empty_array,
            ("numpy.core.numeric", "_frombuffer"): _array_of_bytes,
            ("_codecs", "encode"): _latin1_bytes,
        }
        if (module, name) not in allowed:
            raise pickle.UnpicklingError(f"a call of {module}.{name}")
        return allowed[module, name]


def _empty_array(kind: type, shape: tuple[int, ...], code: bytes | str) -> np.ndarray:
    if kind is not np.ndarray or tuple(shape) != (0,):
        raise pickle.UnpicklingError(f"an array of {kind} that is not plain")
    return np.empty(0, dtype=code)


def _array_of_bytes(
    data: bytes | bytearray | memoryview, dtype: np.dtype, shape: tuple[int, ...], order: str
) -> np.ndarray:
    return np.frombuffer(data, dtype=dtype).reshape(shape, order=order)


def _latin1_bytes(text: str, encoding: str) -> bytes:
    if encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"text in the encoding {encoding}")
    return text.encode("latin1")


def read_adjacency_pickle(path: Path | str) -> pd.DataFrame:
    """Read an `adj_mx.pkl` without running anything that it may contain.

    Args:
        path: A pickle of the list `[ids, id -> index, matrix]`, of Python 2 or 3.

    Returns:
        The matrix in float32, rows and columns labelled with ids as text.

    Raises:
        ValueError: The pickle asks for anything but numpy arrays, is damaged, or is another list.
        FileNotFoundError: There is no such file.
    """
    path = Path(path)
    todo = "Use the adj_mx.pkl of the data set, or remove the file to have it rebuilt."
    if not path.is_file():
        raise FileNotFoundError(
            f"An adjacency pickle must exist; got {path}, which does not. Check the path."
        )
    try:
        content = _ListUnpickler(io.BytesIO(path.read_bytes()), encoding="latin1").load()
    except Exception as error:  # a damaged pickle raises almost anything
        raise ValueError(
            f"{path.name} must be a pickle of the list [ids, index, matrix] with numpy arrays "
            f"only; got {str(error) or type(error).__name__}. Nothing in it was run. {todo}"
        ) from error
    is_triple = isinstance(content, (list, tuple)) and len(content) == 3
    ids, matrix = (content[0], content[2]) if is_triple else (None, None)
    is_list = isinstance(ids, (list, tuple, np.ndarray))
    if not is_list or not isinstance(matrix, np.ndarray) or matrix.dtype.kind not in "iuf":
        shown = type(content).__name__
        if isinstance(content, (list, tuple)):
            shown += f" of {', '.join(type(part).__name__ for part in content[:4]) or 'nothing'}"
        raise ValueError(
            f"{path.name} must be a pickle of the list [ids, index, matrix]; got a {shown}. {todo}"
        )
    names = id_text(ids)
    if matrix.shape != (len(names), len(names)) or not np.isfinite(matrix).all():
        raise ValueError(
            f"The matrix of {path.name} must be finite, with a row and a column for each of its "
            f"{len(names)} ids; got shape {matrix.shape}. {todo}"
        )
    return pd.DataFrame(matrix.astype(np.float32), index=names, columns=names)


def select_adjacency(adjacency: pd.DataFrame, ids: Sequence[str], *, where: str) -> np.ndarray:
    """Bring an adjacency matrix into the order of a dataset's sensors.

    Args:
        adjacency: Labelled with ids; may hold more sensors.
        ids: The sensors to keep, in order.
        where: Name of the file for the message.

    Returns:
        Weights in float32 from row to column.

    Raises:
        ValueError: A sensor is not in the matrix, or in it twice.
    """
    absent = [name for name in ids if name not in adjacency.index]
    if absent or adjacency.index.has_duplicates:
        got = f"none for {len(absent)} of {len(ids)} ({absent[0]})" if absent else "an id twice"
        raise ValueError(
            f"{where} must hold each sensor of the readings once; got {got}. Use the matrix of the "
            "same data set, or remove the file to have it rebuilt."
        )
    return adjacency.loc[list(ids), list(ids)].to_numpy(np.float32)


def read_distances(path: Path | str) -> pd.DataFrame:
    """Read road distances between sensors, with or without a header line.

    Args:
        path: CSV (`.csv` or `.csv.gz`) of three columns: from, to, cost.

    Returns:
        Columns `from`, `to` (ids as text) and `cost` (the file's unit, metres in DCRNN's files).

    Raises:
        ValueError: There are not three columns, or a cost is not a number of at least 0.
    """
    path = Path(path)
    rows = read_rows(path)
    if rows.shape[1] != 3:
        raise ValueError(
            f"{path.name} must have the columns from, to, cost; got {rows.shape[1]} columns. "
            "Drop the others."
        )
    cost = np.asarray(pd.to_numeric(rows[2], errors="coerce"), np.float64)
    start = 1 if np.isnan(cost[0]) else 0
    bad = np.flatnonzero(~(cost[start:] >= 0))
    if bad.size or start == len(rows):
        row = ",".join(map(str, rows.iloc[min(start + (bad[0] if bad.size else 0), len(rows) - 1)]))
        raise ValueError(
            f"Distances must be numbers of at least 0 in {path.name}; got the row {row}. "
            "Correct or drop it."
        )
    rows = rows.iloc[start:]
    return pd.DataFrame({"from": id_text(rows[0]), "to": id_text(rows[1]), "cost": cost[start:]})


def adjacency_from_distances(distances: pd.DataFrame, ids: Sequence[str]) -> np.ndarray:
    """Turn road distances into edge weights by a thresholded Gaussian kernel.

    Args:
        distances: As `read_distances` gives them; pairs of other sensors are left out.
        ids: The sensors, in order.

    Returns:
        Weights in float32 from row to column: `exp(-(distance / deviation)^2)`, 0 below 0.1 and
        where no distance is known.

    Source: Li et al., "Diffusion Convolutional Recurrent Neural Network", ICLR 2018, section 4.
    """
    nodes = pd.Index(ids)
    rows, columns = nodes.get_indexer(distances["from"]), nodes.get_indexer(distances["to"])
    is_known = (rows >= 0) & (columns >= 0)
    weights = np.zeros((len(ids), len(ids)), dtype=np.float32)
    cost = np.asarray(distances["cost"], np.float64)[is_known]
    weights[rows[is_known], columns[is_known]] = _kernel(cost)
    return weights


def adjacency_from_locations(latitude: np.ndarray, longitude: np.ndarray) -> np.ndarray:
    """Turn places into edge weights where no road distances are known.

    The same kernel as for road distances, over the great-circle distances to the ten nearest
    sensors; symmetric, and only as good a guess as roads are straight.

    Args:
        latitude: Degrees north.
        longitude: Degrees east.

    Returns:
        Weights in float32.
    """
    nearest = nearest_nodes(latitude, longitude, count=_NEIGHBOURS + 1)
    rows = np.repeat(np.arange(len(nearest)), nearest.shape[1])
    columns = nearest.ravel()
    distance = haversine_km(latitude[rows], longitude[rows], latitude[columns], longitude[columns])
    weights = np.zeros((len(nearest), len(nearest)), dtype=np.float32)
    weights[rows, columns] = _kernel(distance)
    return np.maximum(weights, weights.T)


def _kernel(distance: np.ndarray) -> np.ndarray:
    deviation = distance.std() if distance.size else 0.0
    if deviation == 0.0:
        return np.ones(len(distance))
    weight = np.exp(-np.square(distance / deviation))
    return np.where(weight < _SMALLEST_WEIGHT, 0.0, weight)
