"""A moving average of weights."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


class MovingAverage:
    """An exponential moving average of weights and buffers: timm's, but what two networks share moves once.

    Args:
        module: what is averaged.
        decay: how much of the average stays at an update, in (0, 1).
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        from timm.utils import ModelEmaV3  # with all of timm's networks: a second for those alone who average

        self._average = ModelEmaV3(_EachOnce(module), decay=decay)

    @property
    def module(self) -> Any:
        """A copy of the module with the averaged weights."""
        return self._average.module.of

    def state(self) -> dict[str, Any]:
        """Give what a checkpoint keeps: the average, and the random state by which timm rounds one in bfloat16."""
        rounding = getattr(self._average, "_sr_generator", None)  # of newer versions
        return {"weights": self.module.state_dict(), "rounding": rounding.get_state() if rounding else None}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave."""
        self.module.load_state_dict(state["weights"])
        if state["rounding"] is not None and hasattr(self._average, "_sr_generator"):
            self._average._sr_generator.set_state(state["rounding"])

    def update(self, module: nn.Module) -> None:
        """Take the module's weights of now into the average."""
        self._average.update(_EachOnce(module))


class _EachOnce(nn.Module):
    """Gives the tensors of a module, each once and by number, to what reads a state dict."""

    def __init__(self, of: nn.Module) -> None:
        super().__init__()
        self.of = of

    def state_dict(self, *args: Any, **keywords: Any) -> dict[str, Tensor]:  # type: ignore[override]
        once = {id(tensor): tensor for tensor in self.of.state_dict(keep_vars=True).values()}
        return {str(i): tensor.detach() for i, tensor in enumerate(once.values())}
