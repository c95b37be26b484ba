"""What each of several processes computes, in a module that a process can import, as it cannot a test."""

import torch
from mmengine.model import MMDistributedDataParallel

from helpers.nets import randomise, tiny
from inimg_mm.models.attention.collapsed_bank import collapses, condense


def gated_nets():
    """A narrow net with each gate."""
    from helpers.small_training import GATES  # needs the hosts

    for gate in GATES:
        net = tiny('resnet18', attention=gate.values[0], norm_eval=True, drop_path_rate=0.0)
        yield gate.id, randomise(net).double().train()


def loss(net, images):
    """The mean over the batch of something that is of no other sample's business."""
    return sum(level.square().mean() for level in net(images))


def gradients_of_half_a_batch(rank, meeting, images, result):
    """The mean gradients of two processes, each with half of the images."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group('gloo', init_method=f'file://{meeting}', rank=rank, world_size=2)
    gradients = {}
    for gate, net in gated_nets():
        parallel = MMDistributedDataParallel(net, find_unused_parameters=False)
        loss(parallel, images.chunk(2)[rank]).backward()
        gradients[gate] = {name: parameter.grad for name, parameter in net.named_parameters()}
    if rank == 0:
        torch.save(gradients, result)
    torch.distributed.destroy_process_group()


def bank_of_half_a_batch(rank, folder):
    """Condense two of the five images (first process) or three, and save what came of it."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        'gloo', init_method=f'file://{folder}/meeting', rank=rank, world_size=2
    )
    banks, image = torch.load(f'{folder}/inputs.pt', weights_only=False)
    own = (image[:2] if rank == 0 else image[2:]).clone().requires_grad_()
    assert collapses(banks, own)  # small, but all processes do the same
    out = condense(banks, own)
    out.sin().sum().backward()
    grads = [parameter.grad for parameter in banks.parameters()]
    torch.save([out.detach(), own.grad, *banks.buffers(), *grads], f'{folder}/{rank}.pt')
    torch.distributed.destroy_process_group()
