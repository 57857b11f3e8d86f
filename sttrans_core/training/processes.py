"""The processes that share a training, one a device; most often there is just one."""

import inspect
import os

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from sttrans_core.config import TrainConfig
from sttrans_core.devices import pick_device

__all__ = ["Processes", "is_first_process"]

_OPTIONS = inspect.signature(DistributedDataParallel).parameters
# Renamed in torch 2.13, which warns of the older name.
_SYNC_BUFFERS = (
    "forward_sync_buffers" if "forward_sync_buffers" in _OPTIONS else "broadcast_buffers"
)


def is_first_process() -> bool:
    """Say whether this process is the one that writes and reports; the only one, mostly.

    Returns:
        True outside of a training that processes share, too.
    """
    return not dist.is_initialized() or dist.get_rank() == 0


class Processes:
    """Device, precision and the other processes of a training, on Lightning Fabric.

    Args:
        settings: Device, precision and number of processes. Where `torchrun` has started this
            process, it says how many there are, on how many machines; else Fabric starts the
            others by running the same command again.

    Raises:
        ValueError: The device is not there.
    """

    def __init__(self, settings: TrainConfig) -> None:
        # Slow to import, and needed for training only.
        from lightning_fabric import Fabric
        from lightning_fabric.strategies.ddp import DDPStrategy

        device, precision = pick_device(settings.device), settings.precision
        if precision == "auto":
            precision = "32-true" if device.type == "cpu" else "bf16-mixed"
        here = int(os.environ.get("LOCAL_WORLD_SIZE", settings.num_processes))
        machines = int(os.environ.get("WORLD_SIZE", here)) // here
        self.fabric = Fabric(
            accelerator=device.type,
            devices=here,
            num_nodes=machines,
            precision=precision,
            # All start from the same seed, and gloo cannot send the types of some buffers.
            strategy=DDPStrategy(**{_SYNC_BUFFERS: False}, init_sync=False)
            if here * machines > 1
            else "auto",
        )
        self.fabric.launch()

    @property
    def rank(self) -> int:
        """Number of this process; 0 is the one that writes and reports."""
        return self.fabric.global_rank

    @property
    def count(self) -> int:
        """How many there are."""
        return self.fabric.world_size

    @property
    def device(self) -> torch.device:
        """The device of this process."""
        return self.fabric.device

    def wait(self) -> None:
        """Wait until every process is here."""
        self.fabric.barrier()

    def add_up(self, value: Tensor) -> Tensor:
        """Give the sum of a tensor over all processes.

        Args:
            value: Of the same shape in each; it is not changed.
        """
        if self.count == 1:
            return value
        return self.fabric.all_reduce(value.to(self.device), reduce_op="sum")  # type: ignore[return-value]

    def any(self, holds: bool) -> bool:
        """Say whether something holds in any process; all must ask.

        Args:
            holds: Whether it does in this one.
        """
        if self.count == 1:
            return holds
        return bool(self.add_up(torch.tensor(float(holds))) > 0)
