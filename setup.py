"""Packaging of inimg-mm. Versions are pinned in requirements.txt, which tools/install.sh reads."""

import runpy
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).resolve().parent

# The mm packages exist twice, from OpenMMLab and from its maintained OneDL forks, in the same import
# folders. An environment has one or the other, so the core names neither; the extras name the forks.
CORE = ['numpy>=1.22', 'safetensors>=0.4', 'torch>=2.1']
MM = ['onedl-mmcv', 'onedl-mmengine', 'torchvision']

EXTRAS = {
    'mm': [*MM, 'onedl-mmdetection', 'onedl-mmpretrain', 'pycocotools'],
    # mmpose names a package that no longer builds, and xtcocotools' wheel is for NumPy 1:
    # tools/install.sh installs the first without its requirements and builds the second.
    'pose': [*MM, 'json_tricks', 'matplotlib', 'munkres', 'opencv-python', 'pillow', 'scipy'],
    'seg': [*MM, 'onedl-mmsegmentation'],
    'bench': ['fvcore', 'grad-cam', 'onnx', 'onnxruntime', 'onnxscript', 'timm'],
    'demo': ['matplotlib', 'rich', 'scikit-image', 'scikit-learn'],
    'dev': ['coverage', 'hypothesis', 'import-linter', 'mypy', 'pytest', 'pytest-xdist', 'ruff'],
}

if __name__ == '__main__':
    setup(
        name='inimg-mm',
        version=runpy.run_path(str(ROOT / 'inimg_mm' / 'version.py'))['__version__'],
        description='Squeeze-and-excitation, inner-imaging and self-calibrated backbones for mm toolboxes',
        license='Apache-2.0',
        license_files=['LICENSE'],
        python_requires='>=3.10,<3.13',
        packages=find_packages(include=['inimg_mm', 'inimg_mm.*']),
        package_data={'inimg_mm': ['py.typed']},
        install_requires=CORE,
        extras_require=EXTRAS,
        zip_safe=False,
    )
