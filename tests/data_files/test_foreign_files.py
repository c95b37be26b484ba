"""A file that is something else is called what it is, whether data, images or checkpoints are read."""

import bz2
import gzip
import io
import lzma
import zipfile

import pytest
import torch

from inimg_mm.checkpoints.reading import read_file
from inimg_mm.data_files.annotation_files import read_annotations
from inimg_mm.data_files.foreign_files import KINDS, what_it_is
from inimg_mm.data_files.image_files import why_broken
from inimg_mm.errors import AnnotationError, CheckpointError


def zipped():
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, 'w') as archive:
        archive.writestr('model.pth', b'x')
    return stream.getvalue()


def scripted():
    stream = io.BytesIO()
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), stream)
    return stream.getvalue()


FILES = {
    'a Git LFS pointer': b'version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n',
    'a web page': b'<!DOCTYPE html><html>',
    'a gzip archive': gzip.compress(b'x'),
    'a bzip2 archive': bz2.compress(b'x'),
    'an xz archive': lzma.compress(b'x'),
    'a 7-Zip archive': b"7z\xbc\xaf'\x1c\0\4",
    'a RAR archive': b'Rar!\x1a\x07\x01\0',
    'a Zstandard archive': b'\x28\xb5\x2f\xfd\0',
    'an HDF5 file': b'\x89HDF\r\n\x1a\n',
    'a PDF': b'%PDF-1.7\n',
    'a zip archive': zipped(),
    'a TorchScript program': scripted(),
}


@pytest.mark.parametrize('what', FILES)
def test_files_that_are_something_else(what, tmp_path):
    path = tmp_path / 'x.pth'
    path.write_bytes(FILES[what])
    assert what_it_is(path).what == what
    assert why_broken(path).startswith(f'it is {what}: ')
    with pytest.raises(AnnotationError, match=f'x.pth cannot be read: it is {what}: '):
        read_annotations(path)
    for trust in (False, True):
        with pytest.raises(CheckpointError, match=f'x.pth is {what}, not a checkpoint: '):
            read_file(path, trust)


def test_each_kind_is_tried():
    assert {kind.what for _, kind in KINDS} < set(FILES)


def test_checkpoints_are_what_they_are(tmp_path):
    for name, options in (('new.pth', {}), ('old.pth', dict(_use_new_zipfile_serialization=False))):
        torch.save(dict(weight=torch.ones(2)), tmp_path / name, **options)
        assert what_it_is(tmp_path / name) is None
        assert torch.equal(read_file(tmp_path / name)['weight'], torch.ones(2))
    whole = (tmp_path / 'new.pth').read_bytes()
    (tmp_path / 'cut.pth').write_bytes(whole[: len(whole) // 2])
    assert what_it_is(tmp_path / 'cut.pth') is None
    assert what_it_is(tmp_path / 'nowhere.pth') is None


def test_an_array_without_values_is_no_code(tmp_path):
    """As mmengine stores the links of keypoints that have none."""
    import numpy as np

    torch.save(dict(state_dict=dict(w=torch.ones(1)), meta=np.zeros((0, 3), np.uint8)), tmp_path / 'x.pth')
    assert read_file(tmp_path / 'x.pth')['meta'].shape == (0, 3)
