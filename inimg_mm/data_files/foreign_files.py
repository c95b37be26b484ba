"""What a file is that is not what its name says: a pointer, a web page, an archive."""

import re
import zipfile
from pathlib import Path
from typing import NamedTuple

HEAD = 512
UNPACK = 'unpack it'


class Kind(NamedTuple):
    """What a file is, and what to do with it."""

    what: str
    remedy: str

    def __str__(self) -> str:
        return f'{self.what}: {self.remedy}'


KINDS = (
    (
        rb'version https://git-lfs\.github\.com/spec',
        Kind('a Git LFS pointer', "'git lfs pull' fetches the file itself"),
    ),
    (rb'(\xef\xbb\xbf)?\s*<(!doctype|html|head|\?xml)', Kind('a web page', 'the download went wrong')),
    (rb'\x1f\x8b', Kind('a gzip archive', UNPACK)),
    (rb'BZh', Kind('a bzip2 archive', UNPACK)),
    (rb'\xfd7zXZ\x00', Kind('an xz archive', UNPACK)),
    (rb'7z\xbc\xaf\x27\x1c', Kind('a 7-Zip archive', UNPACK)),
    (rb'Rar!\x1a\x07', Kind('a RAR archive', UNPACK)),
    (rb'\x28\xb5\x2f\xfd', Kind('a Zstandard archive', UNPACK)),
    (rb'\x89HDF\r\n', Kind('an HDF5 file', 'as Keras and MATLAB write')),
    (rb'%PDF-', Kind('a PDF', 'the download went wrong')),
)
"""How such files begin, and what they are. A new kind is a row here and a case in the test."""

ZIP = b'PK\x03\x04'
TORCH_SCRIPT = Kind('a TorchScript program', 'save the state_dict() of the model that it was made from')


def what_it_is(path: str | Path) -> Kind | None:
    """What a file is by its first bytes, where that is something else than data; None if nothing is known.

    torch's checkpoints, which are zip archives, are data.
    """
    try:
        with open(path, 'rb') as file:
            head = file.read(HEAD)
    except OSError:
        return None
    for pattern, kind in KINDS:
        if re.match(pattern, head, re.IGNORECASE):
            return kind
    return _kind_of_zip(path) if head.startswith(ZIP) else None


def _kind_of_zip(path: str | Path) -> Kind | None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = {name.rpartition('/')[2] for name in archive.namelist()}
    except (zipfile.BadZipFile, OSError):
        return None  # cut off
    if 'constants.pkl' in names:
        return TORCH_SCRIPT
    return None if 'data.pkl' in names else Kind('a zip archive', UNPACK)
