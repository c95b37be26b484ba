"""What a file is that is not what its name says: a pointer, a web page, an archive."""

import re
from pathlib import Path

HEAD = 512

KINDS = (
    (
        rb'version https://git-lfs\.github\.com/spec',
        "a Git LFS pointer and not the file itself: 'git lfs pull' fetches it",
    ),
    (rb'(\xef\xbb\xbf)?\s*<(!doctype|html|head|\?xml)', 'a web page or XML: the download went wrong'),
    (rb'\x1f\x8b', 'a gzip archive: unpack it'),
    (rb'PK\x03\x04', 'a zip archive: unpack it'),
    (rb'BZh', 'a bzip2 archive: unpack it'),
    (rb'\xfd7zXZ\x00', 'an xz archive: unpack it'),
    (rb'7z\xbc\xaf\x27\x1c', 'a 7-Zip archive: unpack it'),
    (rb'Rar!\x1a\x07', 'a RAR archive: unpack it'),
    (rb'\x28\xb5\x2f\xfd', 'a Zstandard archive: unpack it'),
)
"""How such files begin, and what is said of them. A new kind is a row here and a case in the test."""
TAR = (257, b'ustar')


def what_it_is(path: str | Path) -> str | None:
    """What a file is by its first bytes, where that is something else than data; None if nothing is known."""
    try:
        with open(path, 'rb') as file:
            head = file.read(HEAD)
    except OSError:
        return None
    if not head:
        return 'empty'
    for pattern, kind in KINDS:
        if re.match(pattern, head, re.IGNORECASE):
            return kind
    return 'a tar archive: unpack it' if head[TAR[0] :].startswith(TAR[1]) else None
