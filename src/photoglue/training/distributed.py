"""Several processes that train one model, started by ``torchrun``: who we are, and what we tell each other.

Gradients are averaged by hand after the backward pass, in one message: the network is small (12 M parameters), and
training calls ``all_layers`` rather than ``forward``, which is what torch's DistributedDataParallel would wrap.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.distributed
from torch import Tensor, nn

from photoglue.errors import ConfigError


def is_first() -> bool:
    """Whether this is the first of the processes that ``torchrun`` started, or the only one."""
    return int(os.environ.get("RANK", "0")) == 0


def own_device(device: torch.device) -> torch.device:
    """The GPU for this one of the processes that ``torchrun`` started, if "cuda" is asked for; else the device.

    Raises:
        ConfigError: If there are more processes than GPUs.
    """
    count, local = (int(os.environ.get(name, "0")) for name in ("WORLD_SIZE", "LOCAL_RANK"))
    if count <= 1 or device.type != "cuda":
        return device
    if local >= torch.cuda.device_count():
        raise ConfigError(
            f"Process {local} of this machine has no GPU: there are {torch.cuda.device_count()}. "
            "Start as many processes as there are GPUs (torchrun --nproc-per-node), or use --device cpu."
        )
    return torch.device("cuda", local)


@dataclass(frozen=True, kw_only=True)
class Processes:
    """This process among those that train together."""

    rank: int = 0
    """Number of this process; process 0 validates, writes and talks."""
    count: int = 1
    """Number of processes."""
    device: torch.device
    """Device on which this process computes."""

    @classmethod
    def join(cls, device: torch.device) -> "Processes":
        """Join the others, if ``torchrun`` started this process; else it is alone.

        Args:
            device: Device of this process; see ``own_device``.
        """
        count, rank = (int(os.environ.get(name, "0")) for name in ("WORLD_SIZE", "RANK"))
        if count <= 1:
            return cls(device=device)
        if device.type == "cuda":
            torch.cuda.set_device(device)
        if not torch.distributed.is_initialized():
            torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
        return cls(rank=rank, count=count, device=device)

    def leave(self) -> None:
        """End the communication with the other processes."""
        if self.count > 1 and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()

    def share(self, module: nn.Module) -> None:
        """Overwrite the weights of all processes by those of process 0."""
        if self.count > 1:
            for tensor in module.state_dict().values():
                torch.distributed.broadcast(tensor, src=0)

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its mean over the processes; same shapes and order everywhere."""
        if self.count == 1 or not tensors:
            return
        message = torch.cat([tensor.flatten() for tensor in tensors])
        torch.distributed.all_reduce(message)
        message /= self.count
        parts = torch.split(message, [tensor.numel() for tensor in tensors])
        torch._foreach_copy_(list(tensors), [part.view_as(t) for part, t in zip(parts, tensors, strict=True)])

    def agree(self, elapsed_s: float, stop: bool) -> tuple[float, bool]:
        """The clock of process 0, and whether any process wants to stop, so that all do the same."""
        if self.count == 1:
            return elapsed_s, stop
        message = torch.tensor([elapsed_s if self.rank == 0 else 0.0, float(stop)], dtype=torch.float64)
        message = message.to(self.device)
        torch.distributed.all_reduce(message)
        elapsed, stopping = message.tolist()
        return elapsed, stopping > 0
