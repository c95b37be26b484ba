"""A backbone's forward and backward pass as a CUDA graph."""

from .cuda_graph import CUDAGraphHook

__all__ = ['CUDAGraphHook']
