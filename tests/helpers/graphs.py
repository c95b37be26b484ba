"""What stands in for a CUDA graph on a machine without a GPU, and a small model to train with it."""

from contextlib import nullcontext

import torch
from mmengine.model import BaseModel
from mmengine.registry import HOOKS, MODELS
from torch import nn

from helpers.nets import randomise
from inimg_mm.engine.hooks import CUDAGraphHook


class EagerRecorder:
    """Repeats work by doing it again, from and to the memory of the first time, as a graph does."""

    def __init__(self, device):
        self.device = device
        self.replays = 0

    def beside(self):
        return nullcontext()

    def record(self, work):
        static = work()
        for tensor in static:
            if tensor is not None:
                tensor.data.fill_(float('nan'))  # recording computes nothing

        def replay():
            self.replays += 1
            for old, new in zip(static, work(), strict=True):
                if old is not None:
                    old.data.copy_(new)

        return static, replay


@HOOKS.register_module()
class EagerGraphHook(CUDAGraphHook):
    """The hook without a GPU."""

    recorder = EagerRecorder


@MODELS.register_module()
class ToyClassifier(BaseModel):
    """A backbone and a linear layer, on images made of the numbers of ``helpers.toy_training.Noisy``."""

    def __init__(self, backbone):
        super().__init__()
        self.backbone = MODELS.build(backbone)
        self.head = nn.Linear(self.backbone.out_channels[-1], 1)

    def init_weights(self):
        randomise(self, seed=7)

    def forward(self, inputs, mode='tensor'):
        x = torch.stack(inputs) / 10
        ramp = torch.linspace(0, 3, 64, device=x.device).view(8, 8)
        images = torch.sin(x[:, :3, None, None] + x[:, 3:, None, None] * ramp)
        maps = self.backbone(images)
        out = self.head(maps[-1].mean((2, 3)))
        return dict(loss=(out - x.sum(1, keepdim=True)).square().mean()) if mode == 'loss' else [out]
