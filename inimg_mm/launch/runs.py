"""Train and test a config of any host, thin over mmengine's Runner.

The host is the config's ``default_scope``. Mistakes are found before anything is built.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from inimg_mm.checking.agreement import check_agreement
from inimg_mm.checking.channels import misfits
from inimg_mm.checking.from_scratch import check_from_scratch
from inimg_mm.checking.heatmaps import check_heatmaps
from inimg_mm.checking.outline import Outline
from inimg_mm.checkpoints.fitting import check_fit
from inimg_mm.checkpoints.reading import open_checkpoint
from inimg_mm.data_files.checks import check_annotations, check_data
from inimg_mm.hosts import HOSTS
from inimg_mm.output_files import check_folder
from inimg_mm.registry import unknown_types_named

from .added_hooks import draw_to, name_corrupt_data, resume_exactly, save_predictions_to, save_safely
from .compiling import use_compiler
from .distributed import join, use_plain_norms, without_shards
from .errors_first import errors_first, warnings_kept
from .mixed_precision import use_amp
from .preflight import check_deepspeed, check_pretrained, check_strategy, require, starting_point, tell
from .schedules import kept_schedule, scale_lr, schedule_faults


def train(
    cfg: Config,
    resume: str | None = None,
    amp: bool = False,
    launcher: str = 'none',
    trust: bool = False,
    auto_scale_lr: bool = False,
    compiler: str | bool = False,
    skip_corrupt: int = 0,
) -> None:
    """Train a config.

    What :mod:`inimg_mm.launch.added_hooks` adds to it loses nothing: exact resuming, safe checkpoints.

    Args:
        cfg: From :func:`.load_config`; changed in place.
        resume: 'auto' goes on from the newest checkpoint of the work folder, if there is one;
            else the checkpoint to go on from.
        amp: Train with automatic mixed precision.
        launcher: What started this process: 'none', 'pytorch', 'slurm' or 'mpi'. Without an
            accelerator the processes talk over gloo.
        trust: Accept a checkpoint to go on from that needs unpickling.
        auto_scale_lr: Scale the learning rate from ``auto_scale_lr.base_batch_size`` of the config to
            the batch of all processes together.
        compiler: Compile the training step: with this backend, or True for the config's or torch's own.
        skip_corrupt: How many corrupt files, and how many broken annotations of each file, the training
            leaves out.

    Raises:
        UsageError: If the data is missing, the work folder cannot be written into, or the device or the
            config cannot do what is asked.
        AnnotationError: If an annotation file cannot be read or has broken entries.
        CheckpointError: If a checkpoint is missing, damaged, or would run code.
    """
    with warnings_kept() as warnings:
        _write_switches(cfg, resume, amp, auto_scale_lr, compiler, skip_corrupt)
        start, schedule = _checked(cfg, trust)
    with unknown_types_named(cfg):
        runner = build_runner(cfg, launcher, warnings)
        if start:
            runner._load_from = start  # the newest checkpoint that is whole, where mmengine takes the last
        warnings += schedule_faults(cfg.get('train_cfg'), schedule, epoch_length(runner))
        runner.train()


def _write_switches(
    cfg: Config,
    resume: str | None,
    amp: bool,
    auto_scale_lr: bool,
    compiler: str | bool,
    skip_corrupt: int,
) -> None:
    """Write what a training is asked for into its config, with copies of annotations that leave some out."""
    if amp:
        use_amp(cfg)
    if auto_scale_lr:
        scale_lr(cfg)
    if compiler:
        use_compiler(cfg, compiler if isinstance(compiler, str) else None)
    if resume is not None:
        cfg.resume, cfg.load_from = True, None if resume == 'auto' else resume
    skip_corrupt = name_corrupt_data(cfg, skip_corrupt)
    resume_exactly(cfg)
    save_safely(cfg)
    check_folder(cfg.work_dir)
    check_annotations(cfg, ('train_dataloader', 'val_dataloader'), skip_corrupt)


def _checked(cfg: Config, trust: bool) -> tuple[str | None, Any]:
    """Look at what a training reads.

    Returns:
        The checkpoint that it starts or goes on from, and the schedule of its learning rate.
    """
    check_strategy(cfg)
    outline = Outline(cfg)
    start, resuming = starting_point(cfg, trust), bool(cfg.get('resume'))
    if start and not (resuming and start.in_parts):  # which mmengine's strategy puts together
        check_fit(cfg, start, heads=resuming, model=outline.model)
    source, schedule = start.source if start else None, cfg.get('param_scheduler')
    if start and resuming:
        schedule = kept_schedule(cfg, start)
    del start  # before the next one is read
    check_data(cfg, ('train_dataloader', 'val_dataloader'))
    agreement = check_agreement(cfg, ('train_dataloader', 'val_dataloader'))
    require([*agreement, *misfits(outline), *check_heatmaps(outline)])
    check_pretrained(cfg, trust)
    if source is None:
        tell(check_from_scratch(cfg))
    return source, schedule


def evaluate(
    cfg: Config,
    checkpoint: str | None = None,
    show_dir: str | Path | None = None,
    launcher: str = 'none',
    trust: bool = False,
    predictions: str | Path | None = None,
) -> dict[str, float]:
    """Test a checkpoint, or what a training of the config would start from.

    Args:
        cfg: From :func:`.load_config`; changed in place.
        checkpoint: File or URL of the checkpoint; without one the model is initialised as for a training,
            from the files that ``init_cfg`` and ``load_from`` name.
        show_dir: Folder for pictures with the predictions drawn; made if it is missing.
        launcher: As in :func:`train`.
        trust: Accept a checkpoint that needs unpickling.
        predictions: File for what the model predicts, see :mod:`inimg_mm.predictions`; its
            folder is made.

    Returns:
        The metrics by name.

    Raises:
        UsageError: If the data is missing, the host draws no pictures, or the work folder, the pictures or
            the predictions cannot be written.
        CheckpointError: If the checkpoint is missing, damaged, or would run code.
    """
    if launcher == 'none':
        without_shards(cfg)
    check_folder(cfg.work_dir)
    cfg.resume, cfg.load_from = False, checkpoint or cfg.get('load_from')
    if checkpoint is None:
        check_pretrained(cfg, trust)
    if cfg.load_from:
        check_fit(cfg, open_checkpoint(cfg.load_from, trust), heads=checkpoint is not None)
    check_data(cfg, ('test_dataloader',))
    require(check_agreement(cfg, ('test_dataloader',)))
    name_corrupt_data(cfg)
    check_annotations(cfg, ('test_dataloader',))
    if show_dir is not None:
        draw_to(cfg, Path(show_dir).absolute())
    if predictions is not None:
        save_predictions_to(cfg, Path(predictions))
    with unknown_types_named(cfg):
        runner = build_runner(cfg, launcher)
        if checkpoint is None:
            runner._init_model_weights()  # which only a training does by itself
        return runner.test()


def build_runner(cfg: Config, launcher: str, warnings: Sequence[str] = ()) -> Runner:
    """Build the config's runner, in the process group of its launcher.

    Args:
        cfg: The config.
        launcher: As in :func:`train`.
        warnings: What is said when the training or the test begins.
    """
    cfg.launcher = launcher
    use_plain_norms(cfg)
    fill_in_loaders(cfg)
    join(cfg)
    check_deepspeed(cfg)
    with errors_first(warnings) as shows_held:
        runner = RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)
        runner.register_hook(shows_held)
    return runner


def fill_in_loaders(cfg: Config) -> None:
    """Give the data loaders what the host's own launch script gives them; no workers do not persist."""
    host = HOSTS.get(cfg.default_scope)
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        loader = cfg.get(name)
        if not isinstance(loader, dict):
            continue
        for key, value in (host.loader(loader) if host else {}).items():
            loader.setdefault(key, value)
        if not loader.get('num_workers', 0):
            loader.pop('prefetch_factor', None)
            if loader.get('persistent_workers'):
                loader['persistent_workers'] = False


def epoch_length(runner: Runner) -> int | None:
    """How many batches an epoch has; None where a data set does not know."""
    try:
        return len(runner.train_loop.dataloader)
    except TypeError:
        return None
