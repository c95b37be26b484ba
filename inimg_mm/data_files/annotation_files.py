"""Annotation files are read once and looked through before a run, so that what is wrong has a name."""

import functools
import gc
import json
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from inimg_mm.errors import AnnotationError, warn
from inimg_mm.host_facts import predicts
from inimg_mm.output_files import replacing

from .annotations import NEEDED, Broken, Content, annotations_of, find_broken, identity, lists_of, without
from .corrections import Correction, correct, found_in, leave_out_others
from .foreign_files import what_it_is
from .left_out import Tally, find_misread, tally

COCO = 'CocoDataset'
"""mmdet's and mmpose's data set whose entries are looked at; others have their own rules."""

REMEMBERED = 8
"""Files of which what was found is kept; a run reads three at most, each twice."""


class Reading(NamedTuple):
    """How a file is read.

    Attributes:
        host: 'mmdet' or 'mmpose'.
        training: Whether a training reads it; else a metric does.
        masks: Whether its masks are read.
    """

    host: str = 'mmdet'
    training: bool = True
    masks: bool = False

    @property
    def needed(self) -> Collection[str]:
        """Keys that every annotation must have for the host's data set, or for its metric afterwards."""
        return NEEDED if self.keypoints and self.training else (*NEEDED, 'area')

    @property
    def keypoints(self) -> bool:
        """Whether its keypoints are what counts."""
        return predicts(self.host) == 'keypoints'


class Found(NamedTuple):
    """What is in an annotation file; small, whatever its size.

    Attributes:
        path: The file.
        categories: Its categories as they stand there.
        images: Name, width and height of each image, by id.
        broken: Its broken entries.
        corrections: What is read in one way only, and how many entries have it.
        misread: What it looks like if it is not COCO's format as a whole.
        tally: Which objects are used.
        marked: Whether it begins with a byte-order mark, at which the hosts stop.
    """

    path: Path
    categories: list[Content]
    images: dict[Any, tuple[str, Any, Any]]
    broken: list[Broken]
    corrections: list[tuple[Correction, int]]
    misread: str | None
    tally: Tally
    marked: bool

    def annotated(self) -> Counter[str]:
        """How many objects there are by the category's name, used or not."""
        names = {identity(category): category['name'] for category in self.categories}
        found = Counter(dict.fromkeys(names.values(), 0))
        for (category, _), count in self.tally.counts.items():
            found[names[category]] += count
        return found

    def ids(self, classes: Sequence[str] = ()) -> list[Any]:
        """The ids of these classes; of all without names."""
        return [identity(one) for one in self.categories if not classes or one['name'] in classes]

    def used(self, classes: Sequence[str] = ()) -> tuple[int, Counter[str]]:
        """How many objects of these classes are used, and how many are not, by reason."""
        chosen = self.ids(classes)
        return self.tally.kept(chosen), self.tally.reasons(chosen)


def look_through(path: str | Path, reading: Reading) -> Found:
    """Read a COCO file and find out what is in it, once for each reading as long as the file stays the same.

    Raises:
        AnnotationError: If it cannot be read, or is none; the message names it.
    """
    path = Path(path)
    try:
        state = path.stat()
    except OSError as error:
        raise AnnotationError(f'cannot read the annotation file {path}: {error.strerror}') from error
    found = _look_through(path.absolute(), reading, (state.st_mtime_ns, state.st_size))
    return found._replace(path=path)  # by the name that the config has


@functools.lru_cache(REMEMBERED)
def _look_through(path: Path, reading: Reading, state: tuple[int, int]) -> Found:
    with _no_rubbish():
        return _found_in(path, reading)


def _found_in(path: Path, reading: Reading) -> Found:
    content = read_annotations(path)
    try:
        annotations_of(content)
        categories = list(lists_of(content).categories.values())
        misread = find_misread(content, reading.masks, reading.keypoints)
        broken = find_broken(content, reading.masks, reading.needed)
    except AnnotationError as error:
        raise AnnotationError(f'the annotation file {path} is broken: {error}') from error
    whole = without(content, broken) if broken else content
    return Found(
        path,
        categories,
        {identity(image): (image['file_name'], image['width'], image['height']) for image in whole['images']},
        broken,
        found_in(whole, reading.training),
        misread,
        tally(whole, reading.host),
        _is_marked(path),
    )


def check_found(
    found: Found,
    reading: Reading,
    classes: Sequence[str] = (),
    skip: int = 0,
    empty: bool = True,
    say: Callable[[str], Any] = warn,
) -> None:
    """Stop at what is wrong with a file, and say what is corrected or left out.

    Args:
        found: From :func:`look_through`.
        reading: What it was looked through for.
        classes: The categories that are meant; empty for all.
        skip: How many annotations may be broken.
        empty: Whether it may have no annotations: images without objects are trained on, too.
        say: What is told that is no error.

    Raises:
        AnnotationError: If more is broken, it is misread as a whole, or nothing is left to train on.
    """
    path, broken = found.path, found.broken
    if found.misread:
        raise AnnotationError(f'in {path}, {found.misread}')
    if len(broken) > skip:
        more = f' (and {len(broken) - 1} more)' if len(broken) > 1 else ''
        limit = f'; skip_corrupt is {skip}' if skip else ''
        raise AnnotationError(f'in {path}, {broken[0].reason}{more}{limit}')
    for number, (_, _, reason) in enumerate(broken, start=1):
        say(f'left out ({number} of up to {skip}) of {path}: {reason}')
    for row, count in found.corrections:
        say(f'{path}: {count} annotations {row.what}: {row.read_as}')
    kept, reasons = found.used(classes)
    total = kept + sum(reasons.values())
    why = ', '.join(f'{count} {reason}' for reason, count in reasons.most_common())
    if reading.training and not kept and (total or not empty):
        raise AnnotationError(
            f'{path} has no annotations to train on' + (f': of {total} objects {why}' if total else '')
        )
    if reasons and reading.training:
        say(f'{path}: {total - kept} of {total} objects are left out: {why}')


def corrected(found: Found, classes: Sequence[str] = ()) -> Content | None:
    """The content of a file as it is meant, read again; None if the file says so itself.

    Args:
        found: From :func:`look_through`.
        classes: The only categories whose objects are kept; empty for all.
    """
    others = classes and any(name not in classes for name, count in found.annotated().items() if count)
    if not (found.broken or found.corrections or found.marked or others):
        return None
    content = read_annotations(found.path)
    content = without(content, found.broken) if found.broken else content
    if others:
        leave_out_others(content, classes)
    correct(content)
    return content


def read_annotations(path: str | Path) -> Any:
    """Parse a JSON file.

    Raises:
        AnnotationError: If it is no JSON, for example because it is cut off, or another kind of file.
    """
    try:
        with open(path, encoding='utf-8-sig') as file:
            return json.load(file)
    except (ValueError, OSError, RecursionError) as error:  # of JSON or of the encoding
        kind = what_it_is(path)
        reason = f'it is {kind}' if kind else error
        raise AnnotationError(f'the annotation file {path} cannot be read: {reason}') from error


def write_annotations(content: Content, path: Path) -> None:
    """Write a JSON file as a whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content), encoding='utf-8')


@contextmanager
def _no_rubbish() -> Iterator[None]:
    """Look for no cycles among millions of new objects, which have none: it takes longer than reading."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def _is_marked(path: Path) -> bool:
    with path.open('rb') as file:
        return file.read(3) == b'\xef\xbb\xbf'
