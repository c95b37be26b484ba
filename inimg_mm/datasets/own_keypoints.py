"""What mmpose wants to know of one's own keypoints: which mirror each other, how far each may be off."""

import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

from inimg_mm.errors import UsageError

COCO_PERSON = (
    'nose', 'left_eye', 'right_eye', 'left_ear', 'right_ear', 'left_shoulder', 'right_shoulder', 'left_elbow',
    'right_elbow', 'left_wrist', 'right_wrist', 'left_hip', 'right_hip', 'left_knee', 'right_knee',
    'left_ankle', 'right_ankle',
)  # fmt: skip
"""COCO's keypoints of a person."""
COCO_SIGMAS = (
    0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072,
    0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089, 0.089,
)  # fmt: skip
"""Spread of each of them, from COCO's evaluation code."""
SIGMA = 0.05
"""Spread of a keypoint of which nothing is known."""

SIDES = {'left': 'right', 'l': 'r', 'lt': 'rt'}
OTHER = SIDES | {right: left for left, right in SIDES.items()}
"""The words for a side, each with the other's."""

Pairs = Sequence[Sequence[str]]


def keypoint_metainfo(
    category: dict[str, Any],
    file: str,
    sigmas: Sequence[float] | None = None,
    flip_pairs: Pairs | None = None,
    skeleton: Sequence[Sequence[Any]] | None = None,
) -> tuple[dict[str, Any], list[str]]:
    """mmpose's description of a category's keypoints, and what was assumed of them, a sentence each.

    Args:
        category: As the annotation file has it; ``sigmas``, ``flip_pairs`` and ``skeleton`` in it are used.
        file: Name of the file, for messages.
        sigmas: Spread of each keypoint. Default: the file's; COCO's where the names are COCO's; else 0.05.
        flip_pairs: Names of keypoints that mirror each other. Default: the file's, else by the names.
        skeleton: Links to draw, by numbers from 1 or by names. Default: the file's.

    Raises:
        UsageError: If it names no keypoints or one twice, or an option does not fit them.
    """
    names = category.get('keypoints')
    if not isinstance(names, list | tuple) or not names or not all(isinstance(n, str) and n for n in names):
        raise UsageError(f'{file} names no keypoints of its category {category["name"]!r}')
    if twice := [name for index, name in enumerate(names) if name in names[:index]]:
        raise UsageError(f'{file} has two keypoints with the name {twice[0]!r}')
    given: dict[str, Any] = dict(sigmas=sigmas, flip_pairs=flip_pairs, skeleton=skeleton)
    where = {name: f'{file}: ' if value is None else '' for name, value in given.items()}
    given = {name: category.get(name) if value is None else value for name, value in given.items()}
    spread, said = _sigmas(names, given['sigmas'], where['sigmas'])
    if given['flip_pairs'] is None:
        swaps = by_names(names)
        said += _by_names_said(names, swaps)
    else:
        swaps = _checked_pairs(names, given['flip_pairs'], where['flip_pairs'])
    links = _links(names, given['skeleton'] or [], where['skeleton'])
    metainfo = dict(
        dataset_name=category['name'],
        classes=(category['name'],),
        keypoint_info={
            index: dict(name=name, id=index, color=[51, 153, 255], type='', swap=swaps.get(name, ''))
            for index, name in enumerate(names)
        },
        skeleton_info={
            index: dict(link=link, id=index, color=[0, 255, 0]) for index, link in enumerate(links)
        },
        joint_weights=[1.0] * len(names),
        sigmas=spread,
    )
    return metainfo, said


def by_names(names: Sequence[str]) -> dict[str, str]:
    """Which keypoints mirror each other, by the usual words for left and right in their names.

    ``left_eye``, ``l_eye``, ``L.Eye``, ``Eye.L``, ``eyeLeft``, ``lEye``, ``LEye``, ``EyeL``, and ``Leye``
    where there is an ``Reye``; ``left_eye_left_corner`` and ``right_eye_right_corner``. One whose other side
    is not there mirrors to itself, and is left out.
    """
    words = {name: tuple(_words(name)) for name in names}
    known: dict[tuple[str, ...], str] = {}
    for name, parts in words.items():
        known.setdefault(parts, name)
    swaps = {}
    for name, parts in words.items():
        sides = [mirrored for mirrored in _mirrored(parts) if mirrored in known]
        if sides:
            swaps[name] = known[sides[0]]
        elif not set(parts) & set(OTHER):
            other = next((one for one in _other_ends(name) if one in words), None)
            if other is not None:
                swaps[name] = other
    return {name: other for name, other in swaps.items() if swaps.get(other) == name}


def _by_names_said(names: Sequence[str], swaps: dict[str, str]) -> list[str]:
    """What is said of pairs that were read from names."""
    pairs = ', '.join(f'{a}-{b}' for a, b in swaps.items() if names.index(a) < names.index(b))
    said = [f'mirrored by their names: {pairs}' if pairs else 'none mirrors another (flip_pairs=…)']
    if alone := [name for name in names if name not in swaps and set(_words(name)) & set(OTHER)]:
        said.append(f'there is no other side of {", ".join(alone)} (flip_pairs=…)')
    return said


def _mirrored(parts: tuple[str, ...]) -> list[tuple[str, ...]]:
    """A name's words with every side changed, as a mirror does; then with those alone that are no letters."""
    swaps = (OTHER, {word: other for word, other in OTHER.items() if len(word) > 1})
    changed = [tuple(swap.get(word, word) for word in parts) for swap in swaps]
    return [words for words in changed if words != parts]


def _words(name: str) -> list[str]:
    """A name in lower-case words: 'lAnkle', 'L.Ankle' and 'l_ankle' are 'l', 'ankle'."""
    parts: list[str] = []
    for part in re.findall(r'[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_a-zA-Z]+', _split_initial(name)):
        lower = part.lower()
        side = next((s for s in ('left', 'right') if lower.startswith(s) and lower != s), None)
        end = next((s for s in ('left', 'right') if lower.endswith(s) and lower != s), None)
        if side:
            parts += [side, lower[len(side) :]]
        elif end:
            parts += [lower[: -len(end)], end]
        else:
            parts.append(lower)
    return parts


def _other_ends(name: str) -> list[str]:
    """A name with the other of l and r as its first or last letter."""
    letters = dict(zip('LRlr', 'RLrl', strict=True))
    first = [letters[name[0]] + name[1:]] if name[0] in letters else []
    return first + ([name[:-1] + letters[name[-1]]] if name[-1] in letters else [])


def _split_initial(name: str) -> str:
    """'LKnee' and 'RKnee' with their first letter apart, as 'KneeL' has its last."""
    return re.sub(r'^([LR])(?=[A-Z][a-z])', r'\1_', name)


def mirrors(metainfo: dict[str, Any]) -> bool:
    """Whether any keypoint mirrors another."""
    return any(point['swap'] for point in metainfo['keypoint_info'].values())


def _sigmas(names: Sequence[str], given: Any, where: str) -> tuple[list[float], list[str]]:
    if given is None:
        if tuple(names) == COCO_PERSON:
            return list(COCO_SIGMAS), ["sigmas are COCO's"]
        return [SIGMA] * len(names), [f'sigmas are {SIGMA} each, which sets the scale of AP (sigmas=…)']
    one = isinstance(given, int | float) and not isinstance(given, bool)
    values = [given] * len(names) if one else given
    fits = isinstance(values, list | tuple) and all(
        isinstance(value, int | float) and math.isfinite(value) and value > 0 for value in values
    )
    if not fits or len(values) != len(names):
        raise UsageError(
            f'{where}sigmas are {len(names)} positive numbers, one a keypoint, and not {given!r}'
        )
    return [float(value) for value in values], []


def _checked_pairs(names: Sequence[str], given: Any, where: str) -> dict[str, str]:
    """Each keypoint's other side, from pairs of names or of numbers from 1."""
    pairs = f'flip_pairs are pairs of keypoints, as in (({names[0]!r}, {names[-1]!r}),)'
    swaps: dict[str, str] = {}
    for one, other in _named_pairs(names, given, where + pairs, f'none; the keypoints are {list(names)}'):
        if one == other or {one, other} & set(swaps):
            raise UsageError(
                f'{where}flip_pairs have {one!r} and {other!r}, and each keypoint is in one pair at most'
            )
        swaps |= {one: other, other: one}
    return swaps


def _links(names: Sequence[str], skeleton: Any, where: str) -> list[tuple[str, str]]:
    links = f'a skeleton links keypoints by their names or numbers, 1 to {len(names)}'
    return list(_named_pairs(names, skeleton, where + links, 'no such link'))


def _named_pairs(names: Sequence[str], given: Any, rule: str, verdict: str) -> Iterator[tuple[str, str]]:
    """Pairs of keypoints that are given by names or by numbers from 1; of one that is not, what to say."""
    for pair in given if isinstance(given, list | tuple) else [given]:
        try:
            one, other = (_named(names, end) for end in pair)
        except (TypeError, ValueError, KeyError, IndexError):
            raise UsageError(f'{rule}, and {pair!r} is {verdict}') from None
        yield one, other


def _named(names: Sequence[str], end: Any) -> str:
    """A keypoint by its name, or by its number from 1 as COCO's skeletons have it."""
    if isinstance(end, str):
        return names[names.index(end)]
    if isinstance(end, bool) or not 1 <= end <= len(names):
        raise IndexError(end)
    return names[end - 1]
