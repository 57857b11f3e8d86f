"""How much memory a computation takes at its peak, in this process or on its GPU."""

import ctypes
import gc
import platform
from pathlib import Path

import torch

__all__ = ["forget_peak", "peak_mb", "resident_mb"]


def forget_peak(device: torch.device) -> None:
    """Give freed memory back and let the next peak count from here on.

    Args:
        device: Where the computation will run.
    """
    gc.collect()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)  # what was freed before would be used again
    forget = Path("/proc/self/clear_refs")
    if forget.is_file():
        forget.write_text("5")  # the peak so far


def peak_mb(device: torch.device) -> float:
    """Give the most memory that was in use since `forget_peak`.

    Args:
        device: Where the computation ran.

    Returns:
        MiB: on a GPU what PyTorch had allocated, else the resident set of this process. Where the
        system cannot forget a peak (all but Linux), it is that since the process began.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    peak = _status("VmHWM")  # getrusage would count the parent's, which a new process inherits
    if peak is not None:
        return peak
    import resource  # not on Windows

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # bytes on macOS


def resident_mb(device: torch.device) -> float:
    """Give the memory in use now; see `peak_mb`.

    Args:
        device: Where the computation runs.

    Returns:
        MiB; where the system does not tell, the peak since the process began.
    """
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device) / 2**20
    now = _status("VmRSS")
    return peak_mb(device) if now is None else now


def _status(name: str) -> float | None:
    """Read a line of Linux's own account of this process, in MiB."""
    status = Path("/proc/self/status")
    if not status.is_file():
        return None
    lines = [line for line in status.read_text().splitlines() if line.startswith(f"{name}:")]
    return float(lines[0].split()[1]) / 2**10
