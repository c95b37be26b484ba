"""SyncBN over two processes with batches of their own size: one batch norm over both."""

import copy
import multiprocessing

import pytest
import torch
from torch import distributed, nn

from helpers.fused import Ending, distances, gate_of, maps, results, set_up
from inimg_mm.models.fused import stem

SIZES = [(3, 6, 4, 5), (2, 6, 3, 3)]


class Stems(nn.Module):
    """Two stems whose outputs are added, with the names of an ending's norms."""

    def __init__(self):
        super().__init__()
        self.norm, self.norm2 = nn.BatchNorm2d(6), nn.BatchNorm2d(6)
        self.act, self.pool = nn.ReLU(), nn.MaxPool2d(3, 2, 1)

    def forward(self, y, x):
        return sum(stem(m, n, self.act, self.pool, True) for m, n in ((y, self.norm), (x, self.norm2)))


def ending(kind):
    module = Stems() if kind == 'stem' else Ending(6, gate_of(kind, 6), projected=True)
    return set_up(module, 'batch')[0]


def synchronized(module):
    for name in ('norm', 'norm2'):
        norm = getattr(module, name)
        sync = nn.SyncBatchNorm(6)
        sync.load_state_dict(norm.state_dict())
        setattr(module, name, sync)
    return module


def work(rank, kind, address, queue):
    distributed.init_process_group('gloo', init_method=f'file://{address}', rank=rank, world_size=2)
    module = synchronized(ending(kind))
    found = results(module, module, maps(*SIZES[rank], seed=rank), seed=rank)
    queue.put((rank, {name: value.detach().numpy() for name, value in found.items()}))
    distributed.barrier()
    distributed.destroy_process_group()


def over_both(module):
    """The formula in float64: each norm sees both batches, and the rest each its own."""
    inputs = [[x.detach().double().requires_grad_() for x in maps(*s, seed=r)] for r, s in enumerate(SIZES)]

    def normed(norm, number):
        rows = torch.cat([pair[number].permute(0, 2, 3, 1).reshape(-1, 6) for pair in inputs])
        parts = norm(rows.T[None, ..., None]).squeeze().T.split([n * h * w for n, _, h, w in SIZES])
        return [p.view(n, h, w, 6).permute(0, 3, 1, 2) for p, (n, _, h, w) in zip(parts, SIZES, strict=True)]

    found = []
    for rank, (y, x) in enumerate(zip(normed(module.norm, 0), normed(module.norm2, 1), strict=True)):
        if isinstance(module, Stems):
            out = module.pool(y.relu()) + module.pool(x.relu())
        else:
            weight = 1 if module.gate is None else module.gate(y, x)
            out = (x + weight * y).relu()
        generator = torch.Generator().manual_seed(rank)
        go = torch.randn(out.shape, generator=generator, dtype=torch.float64).float().double()
        found.append((out, go))
    torch.autograd.backward([out for out, _ in found], [go for _, go in found])
    return [out for out, _ in found], inputs


@pytest.mark.parametrize('kind', [None, 'DoubleFC', 'stem'])
def test_equals_one_norm_over_both_batches(kind, tmp_path):
    context = multiprocessing.get_context('fork')
    queue = context.Queue()
    workers = [context.Process(target=work, args=(r, kind, tmp_path / 'ranks', queue)) for r in range(2)]
    for worker in workers:
        worker.start()
    ranks = dict(queue.get(timeout=120) for _ in workers)
    for worker in workers:
        worker.join(timeout=60)
    ranks = [{name: torch.from_numpy(value) for name, value in ranks[r].items()} for r in range(2)]
    exact = copy.deepcopy(ending(kind)).double()
    outs, inputs = over_both(exact)
    for found, out, pair in zip(ranks, outs, inputs, strict=True):
        expected = {'out': out, 'input 0': pair[0].grad, 'input 1': pair[1].grad}
        expected |= dict(exact.named_buffers())
        far = distances({name: found[name] for name in expected}, expected)
        assert max(far.values()) < 1e-5, far
    # a rank's gradients of gamma and beta are its own: their sum is that of the whole batch
    for name, weight in exact.named_parameters():
        far = distances({name: ranks[0][name] + ranks[1][name]}, {name: weight.grad})
        assert far[name] < 1e-5, far
