"""Write the metafiles and the model index of a folder of configs."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import yaml

from inimg_mm.catalogue import INDEX, METAFILE, config_files

from .describing import METHODS, describe

HEAD = """\
# Written by tools/update_catalogue.py. Parameters and FLOPs (multiply-adds of a test image of Input Size) are
# computed from the config; Results are what the papers report: nothing was trained or measured here.
"""
INDEX_HEAD = (
    '# Written by tools/update_catalogue.py. In the wheel: .mim/model-index.yml, with paths from there.\n'
)


def update_metafiles(configs: Path, report: Callable[[Path], None] = lambda path: None) -> list[Path]:
    """Bring every metafile under ``configs/`` and the index of them up to date.

    Args:
        configs: The folder.
        report: Called with each config before it is built, which takes a second or two.

    Returns:
        The files that changed.

    Raises:
        ValueError: If a config cannot be read, or its model cannot be built.
    """
    tasks: dict[str, list[dict[str, Any]]] = {}
    for path in config_files(configs):
        report(path)
        tasks.setdefault(path.parent.name, []).append(describe(path))
    texts = {configs / task / METAFILE: metafile(models) for task, models in tasks.items()}
    texts[configs / INDEX] = model_index(tasks)
    changed = [path for path, text in texts.items() if not path.is_file() or path.read_text() != text]
    for path in changed:
        path.write_text(texts[path])
    return changed


def metafile(models: list[dict[str, Any]]) -> str:
    """The text of the metafile that describes these models and the methods that they stand for."""
    used = {model['In Collection'] for model in models}
    collections = [
        {'Name': name, 'Paper': {'Title': method.paper, 'URL': method.url}}
        for name, method in METHODS.items()
        if name in used
    ]
    content = {'Collections': collections, 'Models': models}
    return HEAD + yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=110)


def model_index(tasks: Iterable[str]) -> str:
    """The text of the index, which is read beside the tasks' folders."""
    return INDEX_HEAD + yaml.safe_dump({'Import': [f'{task}/{METAFILE}' for task in sorted(tasks)]})
