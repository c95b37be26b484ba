"""Train and test a config of any host, thin over mmengine's Runner.

The host is the config's ``default_scope``. Mistakes are found before anything is built.
"""

from pathlib import Path

from mmengine.config import Config
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from inimg_mm.checkpoints.fitting import check_fit
from inimg_mm.checkpoints.reading import open_checkpoint
from inimg_mm.data_files.checks import check_annotations, check_data
from inimg_mm.files import check_folder
from inimg_mm.hosts import HOSTS

from .added_hooks import draw_to, name_corrupt_data, resume_exactly, save_predictions_to, save_safely
from .compiling import use_compiler
from .distributed import join, without_shards
from .mixed_precision import use_amp
from .preflight import check_deepspeed, check_pretrained, check_strategy, starting_point
from .schedules import scale_lr


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
    _write_switches(cfg, resume, amp, auto_scale_lr, compiler, skip_corrupt)
    start = _checked(cfg, trust)
    runner = build_runner(cfg, launcher)
    if start:
        runner._load_from = start  # the newest checkpoint that is whole, where mmengine takes the last
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


def _checked(cfg: Config, trust: bool) -> str | None:
    """Look at what a training reads; returns the checkpoint that it starts or goes on from."""
    check_strategy(cfg)
    check_data(cfg, ('train_dataloader', 'val_dataloader'))
    check_pretrained(cfg, trust)
    start, resuming = starting_point(cfg, trust), bool(cfg.get('resume'))
    if start is None:
        return None
    if not (resuming and start.in_parts):  # which mmengine's strategy puts together
        check_fit(cfg, start, heads=resuming)
    return start.source


def evaluate(
    cfg: Config,
    checkpoint: str,
    show_dir: str | Path | None = None,
    launcher: str = 'none',
    trust: bool = False,
    predictions: str | Path | None = None,
) -> dict[str, float]:
    """Test a checkpoint.

    Args:
        cfg: From :func:`.load_config`; changed in place.
        checkpoint: File or URL of the checkpoint.
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
    check_fit(cfg, open_checkpoint(checkpoint, trust))
    cfg.resume, cfg.load_from = False, checkpoint
    check_data(cfg, ('test_dataloader',))
    name_corrupt_data(cfg)
    check_annotations(cfg, ('test_dataloader',))
    if show_dir is not None:
        draw_to(cfg, Path(show_dir).absolute())
    if predictions is not None:
        save_predictions_to(cfg, Path(predictions))
    return build_runner(cfg, launcher).test()


def build_runner(cfg: Config, launcher: str) -> Runner:
    """Build the config's runner, in the process group of its launcher."""
    cfg.launcher = launcher
    fill_in_loaders(cfg)
    join(cfg)
    check_deepspeed(cfg)
    return RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)


def fill_in_loaders(cfg: Config) -> None:
    """Give the data loaders what the host's own launch script gives them."""
    host = HOSTS.get(cfg.default_scope)
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        if host and (loader := cfg.get(name)):
            for key, value in host.loader(loader).items():
                loader.setdefault(key, value)
