"""Where a model runs."""

import torch

__all__ = ["pick_device"]


def pick_device(name: str) -> torch.device:
    """Turn `auto`, `cpu` or `cuda` into a device that is there.

    Args:
        name: `auto` takes CUDA where present.

    Returns:
        The device.

    Raises:
        ValueError: It is not there.
    """
    has_cuda = torch.cuda.is_available()
    if name == "auto":
        return torch.device("cuda" if has_cuda else "cpu")
    if name.partition(":")[0] not in {"cpu", "cuda"} or (name.startswith("cuda") and not has_cuda):
        there = "auto, cpu or cuda" if has_cuda else "auto or cpu on this machine"
        raise ValueError(f"The device must be {there}; got {name!r}. Choose one of them.")
    return torch.device(name)
