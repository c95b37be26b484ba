"""Markdown tables of the zoo, and the places in a README that hold them."""

from collections.abc import Callable, Mapping
from pathlib import Path

from inimg_mm import zoo
from inimg_mm.errors import UsageError

from .complexity import Complexity, measure

GATE_SPECS = {
    'SE': dict(type='SE'),
    'CMPE-SE double FC': dict(type='CMPESE', view='double_fc'),
    'CMPE-SE 2x1 pair view': dict(type='CMPESE', view='pair_2x1'),
    'CMPE-SE 1x1 pair view': dict(type='CMPESE', view='pair_1x1'),
    'CMPE-SE folded 3x3': dict(type='CMPESE', view='folded_3x3'),
    'Inner-Imaging D': dict(type='InnerImaging', streams=2, filters=((2, 1),), fold=None),
    'Inner-Imaging D+A': dict(type='InnerImaging', streams=2, filters=((1, 1), (2, 1)), fold=None),
    'Inner-Imaging D+A+F': dict(type='InnerImaging', streams=2, filters=((1, 1), (2, 1), (3, 3)), fold=16),
}
"""Every gate, for the table of what each adds to ResNet-50."""


def zoo_table() -> str:
    """A row per backbone: what it is, what we compute, what was published."""
    rows = [
        '| name | config | parameters, M | multiply-adds, G | of an image, W x H | top-1 in the paper, % '
        "| paper | COCO box / mask AP in SCNet's paper, % |",
        '| --- | --- | ---: | ---: | --- | --- | --- | --- |',
    ]
    return '\n'.join([*rows, *(zoo_row(name, measure(name)) for name in zoo.MODELS)])


def zoo_row(name: str, size: Complexity) -> str:
    """The row of a backbone, a key of :data:`inimg_mm.zoo.MODELS`, that needs what ``size`` says."""
    model = zoo.MODELS[name]
    options = ', '.join(f'{key}={value!r}' for key, value in model.config.items())
    coco = f'{model.box_ap} / {model.mask_ap}' if model.box_ap else ''
    return (
        f'| {name} | `{options}` | {size.params / 1e6:.2f} | {size.macs / 1e9:.3f} '
        f'| {model.image_size}x{model.image_size} | {_accuracies(model)} | {_link(model.paper)} | {coco} |'
    )


def _link(paper: str) -> str:
    return f'[{paper}](https://arxiv.org/abs/{paper})' if paper[0].isdigit() else paper


def _accuracies(model: zoo.Model) -> str:
    """The published accuracies, and whose they are where not the paper's that describes the net."""
    found = [f'{name} {value:g}' for name, value in model.cifar.items()]
    if model.top1 is not None:
        found.insert(0, f'{model.top1:g}' + (f' (in {_link(model.top1_from)})' if model.top1_from else ''))
    return ', '.join(found)


def gate_table() -> str:
    """A row per gate: what it adds to ResNet-50."""
    plain = measure('resnet50')
    rows = [
        '| gate in ResNet-50 | parameters, M | added | multiply-adds at 224, G | added |',
        '| --- | ---: | ---: | ---: | ---: |',
        f'| none | {plain.params / 1e6:.3f} | | {plain.macs / 1e9:.3f} | |',
    ]
    for name, attention in GATE_SPECS.items():
        size = measure('resnet50', attention=attention)
        rows.append(
            f'| {name} | {size.params / 1e6:.3f} | {size.params / plain.params - 1:.2%} '
            f'| {size.macs / 1e9:.3f} | {size.macs / plain.macs - 1:.3%} |'
        )
    return '\n'.join(rows)


Tables = Mapping[str, Callable[[], str]]
TABLES: Tables = {'zoo': zoo_table, 'gates': gate_table}
"""The tables of the backbones. A task's README has one, 'configs'."""


def fill(text: str, tables: Tables = TABLES) -> str:
    """Replace what stands between ``<!-- NAME -->`` and ``<!-- end NAME -->`` by each table.

    Raises:
        UsageError: If ``text`` has no such place for any table.
    """
    found = False
    for name, table in tables.items():
        begin, end = f'<!-- {name} -->', f'<!-- end {name} -->'
        if begin in text and end in text:
            head, rest = text.split(begin, 1)
            text = f'{head}{begin}\n{table()}\n{end}{rest.split(end, 1)[1]}'
            found = True
    if not found:
        raise UsageError(
            f'no place for a table; write <!-- NAME --> and <!-- end NAME -->, NAME of {list(tables)}'
        )
    return text


def fill_file(path: Path, tables: Tables = TABLES) -> bool:
    """Bring the tables in a Markdown file up to date.

    Returns:
        Whether the file changed.

    Raises:
        UsageError: If the file has no place for a table.
    """
    before = path.read_text()
    after = fill(before, tables)
    if after != before:
        path.write_text(after)
    return after != before
