"""Image files that are cut off: older releases of OpenCV fill them with grey and say nothing."""

import os
from pathlib import Path

PNG = b'\x89PNG\r\n\x1a\n'
JPEG = b'\xff\xd8'
WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD9)}
"""JPEG markers that no length follows."""
SCAN, END = 0xDA, b'\xff\xd9'
TAIL = 64


def why_broken(path: str | Path) -> str | None:
    """What is wrong with an image file as a whole, or None. What is in its pixels only a decoder sees.

    Empty files, and PNG and JPEG files whose end is missing, are found; of most only both ends are read.
    """
    with open(path, 'rb') as file:
        head = file.read(len(PNG))
        if not head:
            return 'the file is empty'
        kind = 'PNG' if head == PNG else 'JPEG' if head.startswith(JPEG) else None
        if kind is None:
            return None
        file.seek(0, os.SEEK_END)
        file.seek(max(file.tell() - TAIL, 0))
        tail = file.read()
        if b'IEND' in tail if kind == 'PNG' else tail.endswith(END):
            return None
        file.seek(0)
        content = file.read()  # something may follow the end
    whole = b'IEND' in content if kind == 'PNG' else content.find(END, _scan(content)) >= 0
    return None if whole else f'the {kind} is cut off'


def _scan(content: bytes) -> int:
    """Where the pixels of a JPEG begin, behind headers that may hold a whole small JPEG; else its end."""
    place = len(JPEG)
    while place + 4 <= len(content) and content[place] == 0xFF:
        marker = content[place + 1]
        if marker == SCAN:
            return place
        if marker == 0xFF:  # padding
            place += 1
        else:
            place += (
                2 if marker in WITHOUT_LENGTH else 2 + int.from_bytes(content[place + 2 : place + 4], 'big')
            )
    return len(content)
