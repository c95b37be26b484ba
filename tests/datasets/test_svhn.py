"""SVHN's official files as a data set of mmpretrain, on files that are made here."""

import copy

import numpy as np
import pytest

pytest.importorskip('mmpretrain', reason='SVHN is a data set for mmpretrain (extra mm)')
pytest.importorskip('scipy', reason='.mat files are read by SciPy')

from mmengine.config import Config
from scipy.io import savemat

from helpers.own_data import build
from inimg_mm.data_files.svhn_files import FILES, Digits
from inimg_mm.errors import UsageError
from inimg_mm.hosts.dataset_meta import dataset_meta

COUNTS = dict(train=7, extra=5, test=3)


def drawn(split):
    """Images (N, 32, 32, 3) and classes 1 to 10 of a split."""
    random = np.random.default_rng(len(split))
    count = COUNTS[split]
    return random.integers(0, 256, (count, 32, 32, 3), np.uint8), (9 - 3 * np.arange(count)) % 10 + 1


def save(path, images, classes, **options):
    content = dict(X=np.asfortranarray(images.transpose(1, 2, 3, 0)), y=classes[:, None].astype(np.uint8))
    savemat(path, content, do_compression=True, **options)  # as the official files are
    return path


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp('svhn')
    for split in COUNTS:
        save(folder / FILES[split], *drawn(split))
    return folder


def config(root, **options):
    dataset = dict(type='inimg_mm.SVHN', data_root=str(root), pipeline=[dict(type='PackInputs')], **options)
    return Config(
        dict(
            default_scope='mmpretrain',
            model=dict(head=dict(num_classes=10)),
            train_dataloader=dict(dataset=dataset),
        )
    )


def dataset(root, **options):
    return build(config(root, **options), 'train_dataloader')


@pytest.mark.parametrize('split', ['train', 'extra', 'train+extra', 'test'])
def test_images_and_labels(root, split):
    parts = [drawn(part) for part in split.split('+')]
    images = np.concatenate([part[0] for part in parts])
    labels = np.concatenate([part[1] for part in parts]) % 10  # class 10 is the digit 0
    data = dataset(root, split=split)
    assert len(data) == len(images)
    assert 0 in labels
    for index, (image, label) in enumerate(zip(images, labels, strict=True)):
        sample = data[index]
        assert np.array_equal(sample['inputs'].permute(1, 2, 0).numpy(), image)
        assert sample['data_samples'].gt_label.tolist() == [label] == data.get_cat_ids(index)
    assert np.array_equal(data.get_gt_labels(), labels)
    assert data.metainfo['classes'] == tuple('0123456789')
    assert split in repr(data)


def test_a_subset_keeps_its_images_and_shares_the_pixels(root):
    images, classes = drawn('train')
    data = dataset(root, indices=[4, 1])
    assert np.array_equal(data[0]['inputs'].permute(1, 2, 0).numpy(), images[4])
    assert data.get_cat_ids(1) == [classes[1] % 10]
    subset = dataset(root).get_subset([5])
    assert np.array_equal(subset.get_data_info(0)['img'], images[5])
    assert copy.deepcopy(data).digits is data.digits


def test_an_image_is_a_copy_of_its_own(root):
    digits = Digits([root / FILES['train']])
    assert digits._pixels[0][..., 2].flags.f_contiguous  # one piece of memory, and nothing to reorder
    digits.image(2)[:] = 0
    assert digits.image(2).any()


def test_the_names_of_the_classes_are_known_without_the_files():
    assert dataset_meta(config('nowhere'), {})['classes'] == tuple('0123456789')


def test_a_training_gets_its_batches(root):
    from mmengine.registry import DefaultScope
    from mmengine.runner import Runner

    loader = dict(
        batch_size=4,
        num_workers=2,
        sampler=dict(type='DefaultSampler', shuffle=False),
        collate_fn=dict(type='default_collate'),
        dataset=config(root, split='train+extra').train_dataloader.dataset,
    )
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        batches = list(Runner.build_dataloader(loader, seed=0))
    labels = [int(sample.gt_label) for batch in batches for sample in batch['data_samples']]
    assert labels == [*(drawn('train')[1] % 10), *(drawn('extra')[1] % 10)]
    assert batches[0]['inputs'].shape == (4, 3, 32, 32)


def test_predictions_name_images_by_their_places(root):
    from inimg_mm.predictions import image_of

    sample = dataset(root, split='test')[2]['data_samples']
    assert image_of(sample) == ('#2', '#2', 32, 32)


def refused(root, **options):
    with pytest.raises(UsageError) as error:
        dataset(root, **options)
    return str(error.value)


def test_what_is_wrong_is_named(tmp_path):
    images, classes = drawn('train')
    path = tmp_path / FILES['train']
    assert f'there is no {path}' in refused(tmp_path)
    whole = save(path, images, classes).read_bytes()
    for length in (0, 60, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        assert f'{path} is cut off, damaged, or no .mat file' in refused(tmp_path)
    path.write_bytes(b'MATLAB 7.3 MAT-file, Platform: GLNXA64'.ljust(600))
    assert 'is not of format 2 (cropped digits' in refused(tmp_path)
    savemat(path, dict(digitStruct=np.arange(3)))
    assert 'no X of 32 x 32 x 3 x N bytes' in refused(tmp_path)
    for wrong in (classes[:-1], classes + 5):
        save(path, images, wrong)
        assert 'not a class from 1 to 10' in refused(tmp_path)


def test_an_option_that_it_has_not(root):
    assert "no split 'val'; choose from ['train', 'extra', 'train+extra', 'test']" in refused(
        root, split='val'
    )
    assert 'no ann_file' in refused(root, ann_file='train.txt')
