"""SCNet, written down a second time."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

TOLERANCE = 1e-9


@dataclass
class PlainSCNet:
    """A second SCNet, written from the paper: functions on raw weights under the authors' names.

    Widths, depth, groups and the stem's form follow from the weights.
    """

    weights: dict[str, Tensor]
    training: bool = False
    strides: tuple = (1, 2, 2, 2)
    dilations: tuple = (1, 1, 1, 1)
    avd: bool = False
    r: int = 4
    pooling: str = 'avg'
    identity: bool = True

    def conv(self, name, x, stride=1, dilation=1):
        weight = self.weights[f'{name}.weight']
        vertical, horizontal = dilation if isinstance(dilation, tuple) else (dilation, dilation)
        same = vertical * (weight.shape[2] - 1) // 2, horizontal * (weight.shape[3] - 1) // 2
        groups = x.shape[1] // weight.shape[1]
        return F.conv2d(x, weight, self.weights.get(f'{name}.bias'), stride, same, dilation, groups)

    def norm(self, name, x):
        weight, bias, mean, var = (
            self.weights[f'{name}.{part}'] for part in ('weight', 'bias', 'running_mean', 'running_var')
        )
        if self.training:
            mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)
        mean, var, weight, bias = (v[:, None, None] for v in (mean, var, weight, bias))
        return (x - mean) / (var + 1e-5).sqrt() * weight + bias

    def calibrated(self, name, y, stride=1, dilation=1, norm=None):
        """``k4(k3(y) * sigmoid(y + up(k2(pool(y)))))``."""
        norm = norm or self.norm
        height, width = y.shape[2:]
        window = min(self.r, height), min(self.r, width)
        pool = F.avg_pool2d if self.pooling == 'avg' else F.max_pool2d
        small = self.norm(f'{name}.k2.2', self.conv(f'{name}.k2.1', pool(y, window, window), 1, dilation))
        rows = torch.arange(height) * small.shape[2] // height
        columns = torch.arange(width) * small.shape[3] // width
        calibration = small[:, :, rows][:, :, :, columns] + (y if self.identity else 0)
        y = self.norm(f'{name}.k3.1', self.conv(f'{name}.k3.0', y, 1, dilation)) * calibration.sigmoid()
        return norm(f'{name}.k4.1', self.conv(f'{name}.k4.0', y, stride, dilation))

    def block(self, name, x, stride, dilation, avd):
        inner = 1 if avd else stride
        a = self.norm(f'{name}.bn1_a', self.conv(f'{name}.conv1_a', x)).relu()
        a = self.norm(f'{name}.k1.1', self.conv(f'{name}.k1.0', a, inner, dilation)).relu()
        b = self.norm(f'{name}.bn1_b', self.conv(f'{name}.conv1_b', x)).relu()
        b = self.calibrated(f'{name}.scconv', b, inner, dilation).relu()
        if avd:
            a, b = (F.avg_pool2d(branch, 3, stride, padding=1) for branch in (a, b))
        out = self.norm(f'{name}.bn3', self.conv(f'{name}.conv3', torch.cat([a, b], dim=1)))
        return (self.shortcut(f'{name}.downsample', x, stride) + out).relu()

    def shortcut(self, name, x, stride):
        if f'{name}.2.weight' in self.weights:
            x = F.avg_pool2d(x, stride, stride, ceil_mode=True, count_include_pad=False)
            return self.norm(f'{name}.2', self.conv(f'{name}.1', x))
        if f'{name}.0.weight' in self.weights:
            return self.norm(f'{name}.1', self.conv(f'{name}.0', x, stride))
        return x

    def stem(self, x):
        if 'conv1.weight' in self.weights:
            x = self.conv('conv1', x, 2)
        else:
            x = self.norm('conv1.1', self.conv('conv1.0', x, 2)).relu()
            x = self.norm('conv1.4', self.conv('conv1.3', x)).relu()
            x = self.conv('conv1.6', x)
        return F.max_pool2d(self.norm('bn1', x).relu(), 3, 2, padding=1)

    def __call__(self, x):
        x, maps = self.stem(x), []
        for stage, (stride, dilation) in enumerate(zip(self.strides, self.dilations, strict=True), 1):
            first = {1: 1, 2: 1, 4: 2}[dilation]
            blocks = {int(name.split('.')[1]) for name in self.weights if name.startswith(f'layer{stage}.')}
            x = self.block(f'layer{stage}.0', x, stride, first, self.avd and stage > 1)
            for index in range(1, len(blocks)):
                x = self.block(f'layer{stage}.{index}', x, 1, dilation, avd=False)
            maps.append(x)
        return maps
