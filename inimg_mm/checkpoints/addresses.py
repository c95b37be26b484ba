"""Where a checkpoint lies: paths, URLs and the names that mmengine gives to published files."""

import hashlib
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from difflib import get_close_matches
from pathlib import Path
from urllib.parse import urlparse

import torch
from mmengine.dist import barrier, is_main_process
from mmengine.fileio import get_local_path

from inimg_mm.errors import CheckpointError


@contextmanager
def local_file(source: str) -> Iterator[Path]:
    """The local path of a path or URL, which is downloaded where needed.

    Raises:
        CheckpointError: If it cannot be had.
    """
    scheme = urlparse(source).scheme
    if scheme in ('', 'file') or len(scheme) == 1 or Path(source).exists():
        yield Path(source.removeprefix('file://'))
    elif scheme in ('http', 'https'):
        yield _download(source)
    elif scheme in NAMED:
        models, name = NAMED[scheme](), source.removeprefix(f'{scheme}://')
        if name not in models:
            close = get_close_matches(name, models, n=5)
            raise CheckpointError(f'{scheme}:// has no model {name!r}; close to it: {close or "none"}')
        with local_file(models[name]) as path:
            yield path
    else:
        with ExitStack() as opened:
            try:
                path = opened.enter_context(get_local_path(source))
            except Exception as error:
                unknown = f'no file backend for {scheme}://; named models have {", ".join(NAMED)}'
                reason = unknown if isinstance(error, KeyError) else first_line(error)
                raise CheckpointError(f'cannot open {source}: {reason}') from error
            yield Path(path)


def _torchvision_models() -> dict[str, str]:
    from mmengine.runner.checkpoint import get_torchvision_models

    return get_torchvision_models()


def _open_mmlab_models() -> dict[str, str]:
    from mmengine.runner.checkpoint import get_deprecated_model_names, get_external_models

    models = get_external_models()
    older = {old: models[name] for old, name in get_deprecated_model_names().items() if name in models}
    return {**models, **older}


def _mmcls_models() -> dict[str, str]:
    from mmengine.runner.checkpoint import get_mmcls_models

    return get_mmcls_models()


NAMED = {
    'torchvision': _torchvision_models,
    'modelzoo': _torchvision_models,
    'open-mmlab': _open_mmlab_models,
    'openmmlab': _open_mmlab_models,
    'mmcls': _mmcls_models,
}
"""mmengine's schemes that name a model, and where its URL is looked up."""


def _download(url: str) -> Path:
    """Fetch a URL once into torch's cache; other ranks wait for the first.

    A name that ends in a hash, as published files have it, is the file's name in the cache. Before any
    other stands a hash of the URL: everybody has a ``best.pth``.
    """
    name = Path(urlparse(url).path).name
    if not re.search(r'[-_][0-9a-f]{8,}\.', name):
        name = f'{hashlib.sha256(url.encode()).hexdigest()[:8]}-{name}'
    target = Path(torch.hub.get_dir()) / 'checkpoints' / name
    error: Exception | None = None
    if is_main_process() and not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, str(target), progress=True)
        except Exception as problem:
            error = problem
    barrier()
    if error is not None or not target.exists():
        raise CheckpointError(f'cannot download {url}: {error or "the first rank could not"}') from error
    return target


def first_line(error: BaseException) -> str:
    """What an error says, cut short."""
    return (str(error) or type(error).__name__).splitlines()[0][:200]
