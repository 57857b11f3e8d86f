"""How loops that PyTorch has no fused operation for are compiled and run on CPUs.

Numba compiles each of them once for every set of sizes and keeps the result on disk. A loop works
on plain arrays and on a range of items, so that threads share the work without meeting.
"""

import inspect
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import numba
import torch
from numba.core import config
from torch import Tensor

__all__ = ["Kernel", "compiled", "lengths", "run"]

# The threads of OpenMP take over within microseconds and may be called from any thread.
config.THREADING_LAYER_PRIORITY = ["omp", "tbb", "workqueue"]  # type: ignore[attr-defined]
config.PARFOR_MAX_TUPLE_SIZE = 1024  # type: ignore[attr-defined] - the longest of `lengths`
_NUM_THREADS = torch.get_num_threads()
_AT_MOST: int = config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
numba.set_num_threads(_AT_MOST)  # starts them, and changes the number for all that use OpenMP
torch.set_num_threads(_NUM_THREADS)
# Infinities count (what is closed scores -inf); NaN means a broken model, whatever comes out then.
_FASTMATH = {"contract", "reassoc", "nsz", "arcp", "nnan"}
_ONE_AT_A_TIME = threading.Lock()  # the last of those layers stops the process otherwise


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a decorator that compiles a function of arrays and numbers.

    Args:
        options: Of `numba.njit`, for example `parallel=True`.

    Returns:
        The decorator.
    """
    how = {"nogil": True, "cache": True, "error_model": "numpy", "fastmath": _FASTMATH, **options}
    # Without the checks of shapes that wrap every function of the package in tests.
    return lambda function: numba.njit(**how)(inspect.unwrap(function))


class Kernel(NamedTuple):
    """A loop over items, compiled for one thread and for several: only what is called takes time.

    Args:
        alone: A function of (first item, end, ...).
        in_threads: The same of (parts, items, ...), for so many threads.
    """

    alone: Callable[..., None]
    in_threads: Callable[..., None]


def run(kernel: Kernel, count: int, *arguments: Any) -> None:
    """Call a kernel for all items, a range of them in each of PyTorch's threads.

    Args:
        kernel: The loop.
        count: Number of items.
        arguments: Tensors, which it may write to, and numbers.
    """
    threads = min(torch.get_num_threads(), _AT_MOST)
    arrays = [each.detach().numpy() if isinstance(each, Tensor) else each for each in arguments]
    if threads == 1:
        kernel.alone(0, count, *arrays)
        return
    parts = max(1, min(threads, count))
    with _ONE_AT_A_TIME:
        numba.set_num_threads(parts)
        kernel.in_threads(parts, count, *arrays)


def lengths(*sizes: int) -> tuple[tuple[int, ...], ...]:
    """Give sizes as lengths of tuples: known when compiling, so that short loops are unrolled.

    Args:
        sizes: Of the shortest axes.

    Returns:
        A tuple of zeros for each.
    """
    return tuple((0,) * size for size in sizes)
