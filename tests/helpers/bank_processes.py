"""What one of two processes computes that share a batch: in a module that a process can import."""

import torch

from inimg_mm.models.attention.collapsed_bank import collapses, condense


def half_of_a_batch(rank, folder):
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
