"""The table of a task's configs in its README."""

from inimg_mm import catalogue


def config_table(task: str) -> str:
    """A row per config of a task, from its metafile: what it is, what we count, what was published.

    Raises:
        CatalogueError: If there are no configs of the task.
    """
    found = catalogue.find(f'{task}/*')
    published = any(entry.figures for entry in found)
    rows = [
        '| config | model | backbone | schedule | parameters, M | multiply-adds, G | of an image, W x H '
        + ("| papers' figure " if published else '')
        + '| train |',
        '| --- | --- | --- | --- | ---: | ---: | --- ' + ('| --- ' if published else '') + '| --- |',
    ]
    for entry in found:
        rows.append(
            f'| [{entry.name}]({entry.path.name}) | {entry.model} | {entry.backbone} '
            f'| {entry.length:,} {entry.unit}, batch {entry.batch} | {entry.params / 1e6:.2f} '
            f'| {entry.macs / 1e9:.2f} | {entry.size} '
            + (f'| {entry.figure} ' if published else '')
            + f'| `{_training(entry)}` |'
        )
    return '\n'.join(rows)


def _training(entry: catalogue.Entry) -> str:
    """The command that trains a config; one that shards its model needs a launcher."""
    config = f'configs/{entry.id}.py'
    sharded = '_base_/strategies/' in entry.path.read_text()
    return f'tools/dist_train.sh {config} 8' if sharded else f'python tools/train.py {config}'
