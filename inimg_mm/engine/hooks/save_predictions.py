"""A hook that writes what a model predicts on the test set."""

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from mmengine.dist import gather_object, is_main_process
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner

from inimg_mm.output_files import check_output
from inimg_mm.predictions.forms import FORMS, form_of
from inimg_mm.predictions.records import Record, Sample, Scoring, Subject, image_of
from inimg_mm.registry import HOOKS

from .wrapped_datasets import innermost


@HOOKS.register_module()
class SavePredictionsHook(Hook):
    """Write what the model predicts on the test set to a file, in the form of its task.

    The forms are those of :mod:`inimg_mm.predictions`. Categories have the ids of the annotation
    file, so that pycocotools compares the two. Metrics are not touched. Under several ranks each keeps
    its own share; at the end the first gathers them, in the data set's order and without the samples
    that only fill up the last batch. The file is written then, whole or not at all; class maps are
    written as they come. In a config, for the hosts' own test scripts::

        custom_hooks = [dict(type='inimg_mm.SavePredictionsHook', out='predictions.json')]

    Args:
        out: The file; its folder is made if it is missing. Class maps go into ``<stem>_maps/`` beside it.

    Raises:
        UsageError: If the file cannot be written, or the model predicts something else.
    """

    def __init__(self, out: str | Path) -> None:
        self.out = Path(out)
        self._form = ''
        self._records: list[Record] = []
        self._subject = Subject()

    def before_test(self, runner: Runner) -> None:
        """Check that the file can be written, and read what the data set says of its classes."""
        self.out = check_output(self.out)
        self._records.clear()
        self._subject = _subject(runner)

    def after_test_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Sequence[Sample] | None = None,
    ) -> None:
        """Keep a batch's predictions."""
        for sample in outputs or ():
            self._form = self._form or form_of(sample)
            image = image_of(sample)
            self._records.append(FORMS[self._form].record(sample, image, self._subject, self.out))

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Gather the predictions of all ranks, and write them."""
        shares = gather_object((self._form, self._records))
        self._records = []
        if not is_main_process() or shares is None:
            return
        forms = [form for form, _ in shares if form]
        if not forms:
            print_log(f'{self.out} is not written: the test set is empty', 'current')
            return
        records = list(_joined([records for _, records in shares]))
        FORMS[forms[0]].write(records, self._subject, self.out)
        print_log(f'the predictions of {len(records)} samples are in {self.out}', 'current')


def _joined(shares: Sequence[Sequence[Record]]) -> Iterator[Record]:
    """The records of all ranks in the data set's order, which the ranks took in turns; each sample once."""
    seen = set()
    for turn in zip_longest(*shares):
        for record in turn:
            if record is not None and record.key not in seen:
                seen.add(record.key)
                yield record


def _subject(runner: Runner) -> Subject:
    dataset = runner.test_dataloader.dataset
    parts = innermost(dataset)
    meta = getattr(dataset, 'metainfo', None) or {}
    classes = tuple(meta.get('classes') or ())
    return Subject(
        classes=classes,
        categories=meta.get('CLASSES') or _categories(classes, parts),  # mmpose's, as the file has them
        scoring=_scoring(runner.test_loop.evaluator, meta.get('sigmas')),
        root=_root(parts),
    )


def _categories(classes: Sequence[str], datasets: Sequence[Any]) -> list[dict[str, Any]]:
    """Categories by label; their ids are the annotation file's, or the labels where there is none."""
    known = {tuple(dataset.cat_ids) for dataset in datasets if getattr(dataset, 'cat_ids', None)}
    ids = known.pop() if len(known) == 1 else ()
    if len(ids) != len(classes):
        ids = tuple(range(len(classes)))
    return [dict(id=index, name=name) for index, name in zip(ids, classes, strict=True)]


def _scoring(evaluator: Any, sigmas: Any) -> Scoring:
    """How the evaluator scores keypoints, or the default."""
    for metric in getattr(evaluator, 'metrics', ()):
        if hasattr(metric, 'score_mode') and hasattr(metric, 'nms_mode'):
            names = ('score_mode', 'keypoint_score_thr', 'nms_mode', 'nms_thr')
            return Scoring(**{name: getattr(metric, name) for name in names}, sigmas=sigmas)
    return Scoring(sigmas=sigmas)


def _root(datasets: Sequence[Any]) -> Path | None:
    """The folder of a semantic data set's images."""
    prefix = getattr(datasets[0], 'data_prefix', None) or {}
    return Path(prefix['img_path']) if prefix.get('img_path') else None
