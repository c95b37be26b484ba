"""What every backbone has: stages, outputs, freezing, and the metadata that says so."""

import inspect
import logging
from abc import abstractmethod
from collections.abc import Mapping, Sequence

from mmengine.logging import MMLogger, print_log
from mmengine.model import BaseModule
from mmengine.registry import DefaultScope
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from inimg_mm.errors import UsageError
from inimg_mm.host_facts import HOSTS
from inimg_mm.models.checks import is_integer

from .pretrained_init import checked_loading, is_pretrained


class Backbone(BaseModule):
    """A stem and stages ``layer1``, ``layer2``, …, one feature map per ``out_indices``.

    Only the stages that ``out_indices`` reads are built: an unused stage would have
    parameters without gradients, on which distributed training hangs. A subclass adds
    them with :meth:`add_stage`, in order, and implements :meth:`stem`.

    Args:
        num_stages: How many stages the family's options describe.
        out_indices: Stages, from 0, whose outputs are returned; ascending. None: as the ResNet of
            the host whose config builds the net (mmengine's default scope): mmpretrain's and mmpose's
            returns the last stage, every other all stages.
        frozen_stages: Freeze the stem and the first ``frozen_stages`` stages, the norms in
            their gates included; 0 freezes the stem alone, -1 nothing.
        norm_eval: Keep all batch norms in eval mode while training.
        init_cfg: mmengine's initialiser config.

    Attributes:
        out_channels: Channels of each returned map.
        out_strides: Stride of each returned map relative to the image.

    Raises:
        UsageError: If an argument is out of its range; the message names the choices.
    """

    def __init__(
        self,
        num_stages: int,
        out_indices: Sequence[int] | None,
        frozen_stages: int,
        norm_eval: bool,
        init_cfg: dict | list[dict] | None,
    ) -> None:
        super().__init__(checked_loading(init_cfg))
        if out_indices is None:
            out_indices = range(num_stages)[-1 if _host_returns_last_map() else 0 :]
        indices = tuple(out_indices) if isinstance(out_indices, Sequence) else (out_indices,)
        if not indices or not all(is_integer(i) and i in range(num_stages) for i in indices):
            raise UsageError(
                f'out_indices must be among {tuple(range(num_stages))} (num_stages={num_stages}), '
                f'got {out_indices!r}'
            )
        if list(indices) != sorted(set(indices)):
            raise UsageError(f'out_indices must be ascending and without repeats, got {out_indices!r}')
        if not is_integer(frozen_stages) or frozen_stages not in range(-1, num_stages + 1):
            raise UsageError(f'frozen_stages must be from -1 to {num_stages}, got {frozen_stages!r}')
        self.out_indices = indices
        self.num_stages = num_stages
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self.stage_names: list[str] = []
        self._stage_parts: list[tuple[str, ...]] = []
        self._stage_channels: list[int] = []
        self._stage_strides: list[int] = []

    @abstractmethod
    def stem(self, x: Tensor) -> Tensor:
        """Map the image (N, in_channels, H, W) to the first stage's input."""

    @abstractmethod
    def stem_modules(self) -> list[nn.Module]:
        """The stem's modules with parameters, for freezing."""

    @property
    def depth_to_build(self) -> int:
        """How many stages ``out_indices`` reads."""
        return self.out_indices[-1] + 1

    def add_stage(self, stage: nn.Module | Mapping[str, nn.Module], channels: int, stride: int) -> None:
        """Add the next stage.

        Args:
            stage: The module; or several that run in order, by the names that the backbone gives them.
                The last one's name is the stage's.
            channels: Channels of its output.
            stride: Stride of its output relative to the image.
        """
        parts = {f'layer{len(self.stage_names) + 1}': stage} if isinstance(stage, nn.Module) else stage
        for name, module in parts.items():
            self.add_module(name, module)
        self.stage_names.append(name)
        self._stage_parts.append(tuple(parts))
        self._stage_channels.append(channels)
        self._stage_strides.append(stride)

    def stage_modules(self, stage: int) -> list[nn.Module]:
        """The modules of a stage, for freezing; none where it is not built."""
        return [getattr(self, name) for names in self._stage_parts[stage : stage + 1] for name in names]

    @property
    def out_channels(self) -> tuple[int, ...]:
        """Channels of each returned map."""
        return tuple(self._stage_channels[index] for index in self.out_indices)

    @property
    def out_strides(self) -> tuple[int, ...]:
        """Stride of each returned map relative to the image."""
        return tuple(self._stage_strides[index] for index in self.out_indices)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Compute the feature maps.

        Args:
            x: Images, (N, in_channels, H, W).

        Returns:
            One map per ``out_indices``, (N, out_channels[i], ~H / out_strides[i], ~W / out_strides[i]).
        """
        x = self.stem(x)
        outputs = []
        for index, names in enumerate(self._stage_parts):
            for name in names:
                x = getattr(self, name)(x)
            if index in self.out_indices:
                outputs.append(x)
        return tuple(outputs)

    def train(self, mode: bool = True) -> 'Backbone':
        """Set the training mode; what is frozen stays frozen, and ``norm_eval`` holds."""
        super().train(mode)
        self._freeze()
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def _dump_init_info(self) -> None:
        """Write how each tensor was initialised where mmengine keeps a log file, and else one line.

        mmengine calls it at the end of ``init_weights`` of a net that is in no other, and would print three
        lines for every tensor. What was loaded from a file is said already, by the initialiser.
        """
        logger = MMLogger.get_current_instance()
        if any(isinstance(handler, logging.FileHandler) for handler in logger.handlers):
            super()._dump_init_info()
        elif not (isinstance(self.init_cfg, dict) and is_pretrained(self.init_cfg)):
            tensors = sum(1 for _ in self.parameters())
            print_log(f'{type(self).__name__}: {tensors} tensors from scratch', logger='current')

    def _freeze(self) -> None:
        frozen: list[nn.Module] = self.stem_modules() if self.frozen_stages >= 0 else []
        for stage in range(self.frozen_stages):
            frozen += self.stage_modules(stage)
        for module in frozen:
            module.eval()
            module.requires_grad_(False)

    def get_layer_depth(self, param_name: str, prefix: str = '') -> tuple[int, int]:
        """Depth of a parameter, for layer-wise learning-rate decay (mmpretrain's contract).

        Args:
            param_name: Full name of the parameter.
            prefix: The backbone's prefix in it, e.g. 'backbone.'.

        Returns:
            The parameter's layer (0: stem, then one per block, last: everything outside the
            backbone) and the number of layers.
        """
        blocks = [len(getattr(self, name)) for name in self.stage_names]
        num_layers = sum(blocks) + 2
        if not param_name.startswith(prefix):
            return num_layers - 1, num_layers
        name, _, rest = param_name[len(prefix) :].partition('.')
        if name not in self.stage_names:
            return 0, num_layers
        return 1 + sum(blocks[: self.stage_names.index(name)]) + int(rest.split('.')[0]), num_layers


def _host_returns_last_map() -> bool:
    """What is the habit of the host whose config is being built; False where there is none."""
    scope = DefaultScope.get_current_instance()
    return bool(scope and scope.scope_name in HOSTS and HOSTS[scope.scope_name].returns_last_map)


def unknown_argument(family: type[Backbone], name: str) -> UsageError:
    """The error of an argument that no class of a family takes."""
    classes = [cls for cls in family.__mro__ if issubclass(cls, Backbone) and '__init__' in vars(cls)]
    known = {
        parameter.name
        for cls in classes[:-1]  # Backbone itself takes what a family computes
        for parameter in inspect.signature(cls).parameters.values()
        if parameter.kind is not parameter.VAR_KEYWORD
    }
    return UsageError(f'{family.__name__} has no argument {name!r}; choose from {sorted(known)}')
