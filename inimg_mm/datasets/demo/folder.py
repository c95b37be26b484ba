"""Write a folder all at once, and never over something that is not ours."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ModuleNotFoundError:  # not on Windows: two runs at once are not noticed there
    fcntl = None  # type: ignore[assignment]

ENTRIES = {'train.json', 'val.json', 'images', 'classification', 'preview', 'manifest.json'}


def check_root(root: Path, settings: dict, force: bool) -> bool:
    """Say whether a demo set with these settings is there already.

    Args:
        root: The folder of the set; it need not exist. An empty folder counts as not there.
        settings: What the set's manifest must hold to be the same set.
        force: Take a set of ours as not there.

    Raises:
        FileExistsError: If ``root`` holds anything else: files that are not ours or, without ``force``, a set
            with other settings or one that is damaged.
    """
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    manifest = _read_manifest(root)
    if manifest.get('generator') != settings['generator']:
        raise FileExistsError(f'{root} exists and is not a demo set: choose another folder')
    foreign = sorted({path.name for path in root.iterdir()} - ENTRIES)
    if force and foreign:
        raise FileExistsError(
            f'{root} also holds {", ".join(foreign)}: move that away before making the set anew'
        )
    if force:
        return False
    for name, wanted in settings.items():
        if manifest.get(name) != wanted:
            raise FileExistsError(
                f'{root} holds a demo set with {name} {manifest.get(name)}, not {wanted}: '
                'choose another folder, or force (--force) to make it anew'
            )
    damage = _find_damage(root, manifest)
    if damage:
        raise FileExistsError(
            f'the demo set in {root} is damaged ({damage}): force (--force) to make it anew'
        )
    return True


@contextmanager
def replaced_folder(root: Path) -> Iterator[Path]:
    """Give a folder to write to, that becomes ``root`` if the block ends without an exception.

    The folder lies beside ``root``, named ``.<name>.partial``. What an interrupted run left is removed.

    Raises:
        FileExistsError: If another run is writing it, or it is not ours.
    """
    partial = root.with_name(f'.{root.name}.partial')
    old = root.with_name(f'.{root.name}.old')
    lock_path = root.with_name(f'.{root.name}.lock')
    root.parent.mkdir(parents=True, exist_ok=True)
    with open(lock_path, 'w') as lock:
        if fcntl:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise FileExistsError(f'another run is making {root}') from None
        try:
            for leftover in (partial, old):
                if leftover.exists():
                    _remove_leftover(leftover)
            partial.mkdir()
            yield partial
            if root.exists():
                root.rename(old)
            partial.rename(root)
            shutil.rmtree(old, ignore_errors=True)
        except BaseException:
            if partial.exists() and not _foreign(partial):
                shutil.rmtree(partial, ignore_errors=True)
            raise
        finally:
            lock_path.unlink(missing_ok=True)


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _foreign(folder: Path) -> bool:
    return not folder.is_dir() or bool({path.name for path in folder.iterdir()} - ENTRIES)


def _remove_leftover(folder: Path) -> None:
    if _foreign(folder):
        raise FileExistsError(f'{folder} is in the way and is not a demo set: move it away')
    print(f'an earlier run was interrupted: removing {folder}', flush=True)
    shutil.rmtree(folder)


def _read_manifest(root: Path) -> dict:
    try:
        manifest = json.loads((root / 'manifest.json').read_text())
    except (OSError, ValueError):
        return {}
    return manifest if isinstance(manifest, dict) else {}


def _find_damage(root: Path, manifest: dict) -> str | None:
    for name in ('train.json', 'val.json'):
        path = root / name
        if not path.is_file() or hash_file(path) != manifest.get('sha256', {}).get(name):
            return f'{name} is missing or was changed'
    counts = manifest['counts']
    expected_files = {'images/*.jpg': counts['num_train'] + counts['num_val']}
    for split in ('train', 'val'):
        expected_files[f'classification/{split}/*/*.png'] = 10 * counts[f'num_class_{split}']
    for pattern, expected_number in expected_files.items():
        number = sum(1 for _ in root.glob(pattern))
        if number != expected_number:
            return f'{number} files {pattern} where {expected_number} were made'
    return None
