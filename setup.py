"""Packaging of inimg-mm. Versions are pinned in requirements.txt, which tools/install.sh reads."""

import runpy
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent

# The mm packages exist twice, from OpenMMLab and from its maintained OneDL forks, in the same import
# folders. An environment has one or the other, so the core names neither; the extras name the forks.
CORE = ['numpy>=1.22', 'pyyaml', 'safetensors>=0.4', 'torch>=2.1']
MM = ['onedl-mmcv', 'onedl-mmengine', 'torchvision']

EXTRAS = {
    'mm': [*MM, 'onedl-mmdetection', 'onedl-mmpretrain', 'pycocotools'],
    # mmpose names a package that no longer builds, and xtcocotools' wheel is for NumPy 1:
    # tools/install.sh installs the first without its requirements and builds the second.
    'pose': [*MM, 'json_tricks', 'matplotlib', 'munkres', 'opencv-python', 'pillow', 'scipy'],
    'seg': [*MM, 'onedl-mmsegmentation'],
    'bench': ['fvcore', 'grad-cam', 'onnx', 'onnxruntime', 'onnxscript', 'pytorchcv', 'timm'],
    'demo': ['matplotlib', 'rich', 'scikit-image', 'scikit-learn'],
    'dev': ['coverage', 'hypothesis', 'import-linter', 'mypy', 'onedl-mim', 'pytest', 'pytest-xdist', 'ruff'],
}

CARRIED = {'configs': ('.md', '.py', '.yml'), 'tools': ('.md', '.py', '.sh')}
"""The files beside the package that a wheel and a source distribution carry, by folder."""


class BuildWithConfigs(build_py):
    """Put ``configs/`` and ``tools/`` into a wheel, where the mm packages have theirs: ``.mim/``.

    An editable installation needs no copy: it finds those of its checkout.
    """

    def run(self):
        """Copy the package, then the files beside it and the index of the configs."""
        super().run()
        if self.editable_mode:
            return
        shutil.rmtree(Path(self._index()).parent, ignore_errors=True)  # of an earlier build
        for source, target in self._carried().items():
            self.mkpath(str(Path(target).parent))
            self.copy_file(source, target)
        # in the source tree the index stands in configs/, and its paths begin there
        index = (ROOT / 'configs' / 'model-index.yml').read_text()
        Path(self._index()).write_text(index.replace('\n- ', '\n- configs/'))

    def get_source_files(self):
        """Name the files of a source distribution, from which a wheel can be built."""
        return super().get_source_files() + ([] if self.editable_mode else list(self._carried()))

    def get_outputs(self, include_bytecode=1):
        """Name the files that are installed."""
        own = [] if self.editable_mode else [*self._carried().values(), self._index()]
        return super().get_outputs(include_bytecode) + own

    def _index(self):
        return str(Path(self.build_lib, 'inimg_mm', '.mim', 'model-index.yml'))

    def _carried(self):
        """Where each file goes."""
        return {
            str(path.relative_to(ROOT)): str(Path(self.build_lib, 'inimg_mm', '.mim', path.relative_to(ROOT)))
            for folder, suffixes in CARRIED.items()
            for path in sorted((ROOT / folder).rglob('*'))
            if path.suffix in suffixes and '__pycache__' not in path.parts
        }


if __name__ == '__main__':
    setup(
        name='inimg-mm',
        version=runpy.run_path(str(ROOT / 'inimg_mm' / 'version.py'))['__version__'],
        description='Squeeze-and-excitation, inner-imaging and self-calibrated backbones for mm toolboxes',
        license='Apache-2.0',
        license_files=['LICENSE'],
        python_requires='>=3.10,<3.13',
        cmdclass={'build_py': BuildWithConfigs},
        packages=find_packages(include=['inimg_mm', 'inimg_mm.*']),
        package_data={'inimg_mm': ['py.typed']},
        install_requires=CORE,
        extras_require=EXTRAS,
        zip_safe=False,
    )
