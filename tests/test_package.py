"""What the package promises before any model is built: light import, extras, pins, directions, installer."""

import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SETUP = runpy.run_path(str(ROOT / 'setup.py'), run_name='setup')
EXTRAS = {
    'mm': {'onedl-mmcv', 'onedl-mmengine', 'onedl-mmdetection', 'onedl-mmpretrain'},
    'pose': {'onedl-mmcv', 'onedl-mmengine', 'json_tricks', 'munkres'},
    'seg': {'onedl-mmcv', 'onedl-mmengine', 'onedl-mmsegmentation'},
    'bench': {'timm', 'fvcore', 'onnx', 'onnxruntime', 'onnxscript', 'grad-cam'},
    'demo': {'scikit-learn', 'scikit-image', 'matplotlib', 'rich'},
    'dev': {'pytest', 'pytest-xdist', 'hypothesis', 'ruff', 'mypy', 'import-linter', 'coverage'},
}


def names(requirements):
    return [re.split(r'[<>=!~;\[ ]', line)[0] for line in requirements]


def pins():
    lines = (ROOT / 'requirements.txt').read_text().splitlines()
    return [line for line in lines if line and not line.startswith('#')]


def test_import_is_light():
    code = (
        'import sys, inimg_mm; print(inimg_mm.__version__, {"torch", "numpy", "mmengine"} & set(sys.modules))'
    )
    out = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True, cwd=ROOT)
    version = runpy.run_path(str(ROOT / 'inimg_mm' / 'version.py'))['__version__']
    assert out.stdout == f'{version} set()\n'


def test_core_requirements_name_no_mm_package():
    assert set(names(SETUP['CORE'])) == {'torch', 'numpy', 'pyyaml', 'safetensors'}


def test_extras():
    assert set(SETUP['EXTRAS']) == set(EXTRAS)
    for extra, packages in EXTRAS.items():
        assert packages <= set(SETUP['EXTRAS'][extra]), extra
    # its requirements cannot be installed, so that the installer takes it without them
    assert 'mmpose' not in sum(SETUP['EXTRAS'].values(), [])


def test_versions_stand_in_the_pin_file_alone():
    assert all(re.fullmatch(r'[\w.-]+==[\w.]+', pin) for pin in pins())
    pinned = names(pins())
    wanted = sum(SETUP['EXTRAS'].values(), []) + names(SETUP['CORE'])
    assert len(pinned) == len(set(pinned))
    assert set(wanted) <= set(pinned)
    assert names(wanted) == wanted, 'an extra names a version'


# ---- import directions ------------------------------------------------------------------------------


@pytest.fixture
def package_copy(tmp_path):
    shutil.copytree(ROOT / 'inimg_mm', tmp_path / 'inimg_mm', ignore=shutil.ignore_patterns('__pycache__'))
    shutil.copy(ROOT / 'pyproject.toml', tmp_path)
    return tmp_path


def lint_imports(folder):
    code = 'from importlinter.cli import lint_imports_command as main; main(["--no-cache"])'
    return subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, cwd=folder)


def test_contracts_hold(package_copy):
    result = lint_imports(package_copy)
    assert result.returncode == 0, result.stdout
    assert '0 broken' in result.stdout


BREAKS = [
    # a floor of the house each, from the ground
    ('errors', 'from inimg_mm import config_tree', 'inimg_mm.config_tree'),
    ('config_tree', 'from inimg_mm import drawing', 'inimg_mm.drawing'),
    ('drawing', 'from inimg_mm import host_facts', 'inimg_mm.host_facts'),
    ('host_facts', 'from inimg_mm import output_files', 'inimg_mm.output_files'),
    ('output_files', 'from inimg_mm.data_files import checks', 'inimg_mm.data_files.checks'),
    ('registry', 'from inimg_mm.models.attention import base', 'inimg_mm.models.attention.base'),
    ('data_files.image_files', 'from inimg_mm.models import checks', 'inimg_mm.models.checks'),
    ('models.attention.base', 'from inimg_mm import zoo', 'inimg_mm.zoo'),
    ('zoo.models', 'from inimg_mm.datasets import own_data', 'inimg_mm.datasets'),
    ('predictions.forms', 'from inimg_mm.checkpoints import reading', 'inimg_mm.checkpoints.reading'),
    ('checkpoints.reading', 'from inimg_mm import hosts', 'inimg_mm.hosts'),
    ('hosts.mmdet', 'from inimg_mm.checking import channels', 'inimg_mm.checking.channels'),
    ('engine.layer_decay', 'from inimg_mm.launch import cli', 'inimg_mm.launch.cli'),
    ('checking.channels', 'from inimg_mm.inference import images', 'inimg_mm.inference.images'),
    ('launch.cli', 'from inimg_mm import studies', 'inimg_mm.studies'),
    ('studies.gate_gains', 'from inimg_mm import visualization', 'inimg_mm.visualization'),
    ('visualization.contact_sheet', 'from inimg_mm import __main__', 'inimg_mm.__main__'),
    # within the models
    ('models.backbones.resnet', 'from inimg_mm.models import heads', 'inimg_mm.models.heads'),
    (
        'models.backbones.blocks',
        'from inimg_mm.models.backbones import resnet',
        'inimg_mm.models.backbones.resnet',
    ),
    ('models.backbones.base', 'import mmdet', 'mmdet'),
    ('models.backbones.scnet', 'def f():\n    from mmpose import apis', 'mmpose'),
    ('models.backbones.stems', 'from mmcv.ops import nms', 'mmcv.ops'),
]
"""An import that each contract forbids: in this module, as this line, and what it imports."""


def test_contracts_break(package_copy):
    for module, line, _ in BREAKS:
        path = package_copy / 'inimg_mm' / (module.replace('.', '/') + '.py')
        path.write_text(f'{path.read_text()}\n\n{line}\n')
    result = lint_imports(package_copy)
    assert result.returncode == 1
    assert '0 kept' in result.stdout
    for module, _, imported in BREAKS:
        assert f'inimg_mm.{module} -> {imported}' in result.stdout


def test_a_room_that_no_floor_has_is_found(package_copy):
    (package_copy / 'inimg_mm' / 'attic.py').write_text('"""Nowhere."""\n')
    result = lint_imports(package_copy)
    assert result.returncode == 1
    assert 'attic' in result.stdout


@pytest.mark.parametrize(
    'name',
    ['ExactResumeHook', 'SafeCheckpointHook', 'CorruptDataHook', 'SavePredictionsHook', 'CUDAGraphHook'],
)
def test_a_hook_in_a_config_brings_no_launcher(name):
    """A config that names a hook under a host's own launcher does not import ours, own data or the hosts."""
    pytest.importorskip('mmengine')
    code = (
        'import sys; from mmengine.registry import HOOKS; '
        f"assert HOOKS.get('inimg_mm.{name}') is not None; "
        "print(*(m for m in sys.modules if m.startswith('inimg_mm.')))"
    )
    run = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True, cwd=ROOT)
    loaded = {module.split('.')[1] for module in run.stdout.split()}
    assert 'engine' in loaded
    assert not loaded & {'launch', 'datasets', 'hosts', 'checking', 'inference', 'catalogue', 'visualization'}


# ---- the scripts --------------------------------------------------------------------------------------

TOOLS = ('awk', 'bash', 'cat', 'df', 'dirname', 'flock', 'grep', 'sed', 'sha256sum')


@pytest.fixture
def bare_project(tmp_path):
    """The files that install.sh reads, and a PATH with a Python (its calls are recorded) and a compiler."""
    project, bin_dir = tmp_path / 'project', tmp_path / 'bin'
    for name in ('tools/install.sh', 'requirements.txt', 'setup.py', 'inimg_mm/version.py'):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, project / name)
    bin_dir.mkdir()
    for tool in TOOLS:
        (bin_dir / tool).symlink_to(shutil.which(tool))
    shim(bin_dir / 'python3', f'echo "$@" >>{tmp_path}/calls; exec {sys._base_executable} "$@"')
    shim(bin_dir / 'c++', 'exit 0')
    return project


def shim(path, script):
    path.unlink(missing_ok=True)
    path.write_text(f'#!/bin/sh\n{script}\n')
    path.chmod(0o755)


def install(project, *extras):
    """Run the installer in a project where it must stop early; its message."""
    env = {'PATH': str(project.parent / 'bin'), 'HOME': str(project.parent)}
    run = subprocess.run(
        [str(project / 'tools' / 'install.sh'), *extras],
        env=env,
        cwd='/',
        capture_output=True,
        text=True,
        timeout=60,
    )
    calls = project.parent / 'calls'
    assert run.returncode == 1, run.stdout + run.stderr
    assert not (project / '.venv').exists()
    assert not calls.exists() or ' pip' not in calls.read_text()
    return run.stderr


def test_install_names_the_extras(bare_project):
    message = install(bare_project, 'mm', 'posse')
    assert "no extra 'posse'" in message
    assert f'choose from {" ".join(SETUP["EXTRAS"])}, or all' in message


def test_install_wants_a_supported_python(bare_project):
    shim(bare_project.parent / 'bin' / 'python3', 'case "$2" in *print*) echo 3.9.2 ;; *) exit 1 ;; esac')
    message = install(bare_project)
    assert 'needs Python 3.10, 3.11 or 3.12' in message
    assert 'found python3 3.9.2' in message


def test_install_wants_a_python(bare_project):
    (bare_project.parent / 'bin' / 'python3').unlink()
    assert 'found nothing' in install(bare_project)


@pytest.mark.parametrize('broken', [True, False])
def test_install_wants_a_compiler(bare_project, broken):
    compiler = bare_project.parent / 'bin' / 'c++'
    shim(compiler, 'exit 1')
    if not broken:
        compiler.unlink()
    assert 'needs a C++17 compiler' in install(bare_project)


def test_install_wants_disk_space(bare_project):
    shim(bare_project.parent / 'bin' / 'df', 'echo header; echo /dev/x 99999999 90000000 5242880 90% /')
    message = install(bare_project)
    assert 'needs 12 GB of free disk space' in message
    assert 'there are 5 GB' in message


def test_install_help_is_its_header(bare_project):
    run = subprocess.run(
        [ROOT / 'tools' / 'install.sh', '--help'], capture_output=True, text=True, check=True
    )
    assert 'MMCV_FIND_LINKS' in run.stdout
    assert 'set -euo' not in run.stdout


# ---- the parts of the installer, with stand-ins -----------------------------------------------------------


def part_of_installer(tmp_path, script, **environment):
    """Run functions of install.sh in a folder of their own, without its run."""
    source = (ROOT / 'tools' / 'install.sh').read_text()
    functions = tmp_path / 'tools' / 'install.sh'
    functions.parent.mkdir(exist_ok=True)
    functions.write_text(source.removesuffix('\nmain "$@"\n'))
    shutil.copy(ROOT / 'requirements.txt', tmp_path)
    setting = f'source {functions}; exec 3>&1; device=cpu; mkdir -p "$state"; cd "$root"\n'
    run = subprocess.run(
        ['bash', '-c', setting + script],
        env={'HOME': str(tmp_path), 'PATH': f'{tmp_path}/bin:{os.environ["PATH"]}', **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout.splitlines()


@pytest.fixture
def pythons(tmp_path):
    """Stand-ins for three versions of Python, by this one."""
    (tmp_path / 'bin').mkdir()
    for minor in (10, 11, 12):
        answer = f'case "$2" in *%d.%d*) echo 3.{minor}.1 ;; *) exec {sys._base_executable} "$@" ;; esac'
        shim(tmp_path / 'bin' / f'python3.{minor}', answer)
    return tmp_path


MMCV = re.search(r'^onedl-mmcv==(.+)$', (ROOT / 'requirements.txt').read_text(), re.MULTILINE)[1]
TORCH = re.search(r'^torch==(.+)$', (ROOT / 'requirements.txt').read_text(), re.MULTILINE)[1]


@pytest.mark.parametrize(
    ('wheel', 'chosen'),
    [
        (None, 'python3.12'),
        (f'pip/wheels/50/8c/75/28/onedl_mmcv-{MMCV}-cp311-cp311-linux_x86_64.whl', 'python3.11'),
        (f'pip/inimg_mm/torch-{TORCH}-cpu/onedl_mmcv-{MMCV}-cp310-cp310-linux_x86_64.whl', 'python3.10'),
        (f'pip/inimg_mm/torch-{TORCH}-cuda/onedl_mmcv-{MMCV}-cp310-cp310-linux_x86_64.whl', 'python3.12'),
        ('pip/wheels/50/8c/75/28/onedl_mmcv-0.1-cp311-cp311-linux_x86_64.whl', 'python3.12'),
    ],
)
def test_install_prefers_the_python_with_a_wheel(pythons, wheel, chosen):
    if wheel:
        path = pythons / '.cache' / wheel
        path.parent.mkdir(parents=True)
        path.touch()
    assert part_of_installer(pythons, 'find_python; echo "$python"') == [chosen]


def test_install_prefers_the_python_of_a_named_folder_of_wheels(pythons):
    (pythons / f'onedl_mmcv-{MMCV}-cp310-cp310-linux_x86_64.whl').touch()
    (chosen,) = part_of_installer(pythons, 'find_python; echo "$python"', MMCV_FIND_LINKS=str(pythons))
    assert chosen == 'python3.10'


def test_install_passes_over_a_python_without_headers(pythons):
    """As where python3.12 came with the system, without what compiles against it."""
    answers = '*%d.%d*) echo 3.12.1 ;; *sysconfig*) echo / ;;'
    shim(
        pythons / 'bin' / 'python3.12', f'case "$2" in {answers} *) exec {sys._base_executable} "$@" ;; esac'
    )
    said, chosen = part_of_installer(pythons, 'find_python; echo "$python"')
    assert chosen == 'python3.11'
    assert said.startswith('takes python3.11 and passes over python3.12 3.12.1, which has no Python.h')


@pytest.mark.parametrize(('python', 'chosen'), [('python3.10', 'python3.10'), (None, 'python3.11')])
def test_install_takes_the_python_that_is_named(pythons, python, chosen):
    (pythons / 'bin' / 'python3.12').unlink()
    shim(pythons / 'bin' / 'python3.12', 'exit 1')  # as a version manager's stand-in for none
    environment = dict(PYTHON=python) if python else {}
    assert part_of_installer(pythons, 'find_python; echo "$python"', **environment) == [chosen]


STAND_IN = """
echo "$@" >>{calls}
case "$*" in
    *'mim install'*) : >{home}/mim ;;
    *'pip wheel'*) mkdir -p {home}/wheels
        : >{home}/wheels/onedl_mmcv-{version}-cp311.whl; : >{home}/compiled ;;
    *'pip download'*) mkdir -p {home}/s/onedl_mmcv; mkdir -p .venv/.install/sdist
        tar -czf .venv/.install/sdist/onedl_mmcv-{version}.tar.gz -C {home}/s onedl_mmcv ;;
    *"--find-links $PAGE/cpu-torch{torch}/simple/onedl-mmcv/index.html"*) : >{home}/page ;;
    *mim/utils/default.py) cat >/dev/null; echo $PAGE ;;
    '- {version} cpu') cat >/dev/null; test -e {home}/{works} ;;
    *) cat >/dev/null ;;
esac
"""
"""A Python whose mmcv works when the file named so is there."""


@pytest.mark.parametrize(('works', 'compiles'), [('mim', False), ('page', False), ('compiled', True)])
def test_a_wheel_whose_ops_do_not_run_is_compiled(tmp_path, works, compiles):
    """First mim's, by torch's build; then the one for CPUs."""
    calls, python = tmp_path / 'calls', tmp_path / 'python'
    torch = TORCH.rpartition('.')[0].replace('.', '') + '0'
    shim(python, STAND_IN.format(calls=calls, home=tmp_path, version=MMCV, torch=torch, works=works))
    setting = f'py={python}; wheels={tmp_path}/wheels; TMPDIR={tmp_path}; install_mmcv </dev/null'
    part_of_installer(tmp_path, setting, PAGE='https://wheels.example')
    asked = calls.read_text()
    assert (
        f'-m mim install --timeout 5 --retries 0 --no-deps --only-binary onedl-mmcv onedl-mmcv=={MMCV}'
        in asked
    )
    assert ('pip wheel' in asked) == compiles
    assert asked.rstrip().endswith(f'- {MMCV} cpu')  # what is installed at last was tried


def test_run_tests_names_its_modes():
    run = subprocess.run(
        [ROOT / 'tools' / 'run_tests.sh', 'quick'], capture_output=True, text=True, env=os.environ
    )
    assert run.returncode == 2
    assert 'choose from fast, all' in run.stderr
