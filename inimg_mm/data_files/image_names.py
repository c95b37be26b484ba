"""Whether the images that an annotation file names are there, and what to write where they are not."""

import os
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple


class Names(NamedTuple):
    """What became of the names of a file's images.

    Attributes:
        missing: Names of images that are not there, each with a hint at the cause or ''.
        meant: Names that are there in another spelling: with the other slashes, or composed otherwise.
    """

    missing: dict[str, str]
    meant: dict[str, str]


def look_up(names: Iterable[str], folder: str | Path) -> Names:
    """Look for images; each folder is listed once.

    Args:
        names: As an annotation file has them, relative to ``folder``.
        folder: Where the images are.
    """
    folder = str(folder)
    listed: dict[str, set[str]] = {}
    missing: dict[str, str] = {}
    meant: dict[str, str] = {}
    for name in dict.fromkeys(names):
        if _is_there(name, folder, listed):
            continue
        other = next((one for one in _spellings(name) if _is_there(one, folder, listed)), None)
        if other is not None:
            meant[name] = other
        else:
            missing[name] = ''
    for name in list(missing)[:1]:  # the one that is told
        missing[name] = _hint(name, folder, listed)
    return Names(missing, meant)


def _is_there(name: str, folder: str, listed: dict[str, set[str]]) -> bool:
    """Whether a file is where its name says; of what no list has the file system is asked."""
    parent, _, last = name.rpartition('/')
    return last in _list(os.path.join(folder, parent), listed) or os.path.exists(os.path.join(folder, name))


def _list(folder: str, listed: dict[str, set[str]]) -> set[str]:
    if folder not in listed:
        try:
            with os.scandir(folder) as entries:
                listed[folder] = {entry.name for entry in entries}
        except (OSError, ValueError):
            listed[folder] = set()
    return listed[folder]


def _spellings(name: str) -> Iterable[str]:
    """The same name as another system writes it."""
    for one in (name, name.replace('\\', '/')):
        for form in ('NFC', 'NFD'):
            yield unicodedata.normalize(form, one)


def _hint(name: str, folder: str, listed: dict[str, set[str]]) -> str:
    """What is there instead, or why the name cannot be one of an image here."""
    if '\\' in name:
        last = name.rpartition('\\')[2]
        other = f', and there is {last!r}' if _is_there(last, folder, listed) else ''
        return f'it is a Windows path{other}: write it relative to the folder of the images, with /'
    parent, _, last = name.rpartition('/')
    there = _list(os.path.join(folder, parent), listed)
    same = {unicodedata.normalize('NFC', one).casefold(): one for one in there}
    if near := same.get(unicodedata.normalize('NFC', last).casefold()):
        return f'there is {near!r}: capitals count'
    stems = {Path(one).stem: one for one in there}
    if near := stems.get(Path(last).stem):
        return f'there is {near!r}: the suffix is another'
    for cut in range(1, name.count('/') + 1):
        if _is_there(shorter := name.split('/', cut)[cut], folder, listed):
            return f'there is {shorter!r}: the folder is named twice'
    if last in _list(os.path.dirname(folder.rstrip('/')), listed):
        return 'it is a folder further up'
    return ''


def renamed(content: dict[str, Any], meant: Mapping[str, str]) -> None:
    """Write the names under which images are there into a content, in place."""
    for image in content['images']:
        image['file_name'] = meant.get(image['file_name'], image['file_name'])
