"""The optimiser wrappers of a runner."""

from typing import Any

from mmengine.optim import OptimWrapper, OptimWrapperDict


def optim_wrappers(runner: Any) -> list[OptimWrapper]:
    """mmengine's optimiser wrappers of a runner; those of other libraries are left out."""
    wrapper = runner.optim_wrapper
    several = wrapper.values() if isinstance(wrapper, OptimWrapperDict) else [wrapper]
    return [one for one in several if isinstance(one, OptimWrapper)]
