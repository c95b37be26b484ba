"""Each test image has a picture of its own, whatever the other images are called."""

from types import SimpleNamespace

import pytest
from mmengine.dataset import BaseDataset, ConcatDataset

from inimg_mm.engine.hooks import PictureNamesHook
from inimg_mm.errors import UsageError

IMAGES = ['cam0/1.jpg', 'cam0/2.tif', 'cam1/1.jpg', 'cam1/1_1.jpg']


class Images(BaseDataset):
    """Samples of a file each."""

    def __init__(self, root, names):
        self.paths = [str(root / name) for name in names]
        super().__init__()

    def load_data_list(self):
        return [dict(img_path=path) for path in self.paths]


class Visualizer:
    """Notes what it is asked for, as those of the hosts."""

    dataset_meta = 'kept'

    def __init__(self):
        self.drawn = []

    def add_datasample(self, name, image, data_sample=None, draw_gt=True, out_file=None, step=0):
        self.drawn.append((out_file, draw_gt))

    def visualize_cls(self, image, data_sample, out_file=None, name='', step=0):
        self.drawn.append((out_file, True))


@pytest.fixture
def runner(tmp_path):
    parts = [Images(tmp_path / 'data', IMAGES[:2]), Images(tmp_path / 'data', IMAGES[2:])]
    hooks = [SimpleNamespace(_visualizer=Visualizer()), SimpleNamespace()]
    return SimpleNamespace(test_dataloader=SimpleNamespace(dataset=ConcatDataset(parts)), hooks=hooks)


def sample(tmp_path, name):
    return dict(img_path=str(tmp_path / 'data' / name))


def drawn(runner, tmp_path):
    return [
        place and str(place).removeprefix(f'{tmp_path}/out/')
        for place, _ in runner.hooks[0]._visualizer.drawn
    ]


def test_images_of_one_name_do_not_meet(runner, tmp_path):
    hook, plain = PictureNamesHook(tmp_path / 'out'), runner.hooks[0]._visualizer
    hook.before_test(runner)
    visualizer = runner.hooks[0]._visualizer
    assert visualizer.dataset_meta == 'kept'
    for name in IMAGES:
        visualizer.add_datasample(
            'x', None, data_sample=sample(tmp_path, name), draw_gt=False, out_file='1.jpg'
        )
    visualizer.visualize_cls(image=None, data_sample=sample(tmp_path, IMAGES[0]), out_file='x', name='1.jpg')
    visualizer.add_datasample('x', None, sample(tmp_path, IMAGES[2]))  # another object of it
    visualizer.add_datasample('x', None, sample(tmp_path, 'other.jpg'), out_file=None)
    assert drawn(runner, tmp_path) == [
        'cam0/1.jpg', 'cam0/2.tif.png', 'cam1/1.jpg', 'cam1/1_1.jpg', 'cam0/1_1.jpg', 'cam1/1_2.jpg', None
    ]  # fmt: skip
    assert plain.drawn[0][1] is False
    hook.after_test(runner)
    assert runner.hooks[0]._visualizer is plain


def test_a_picture_never_takes_the_place_of_its_image(runner, tmp_path):
    with pytest.raises(UsageError, match='would overwrite its image'):
        PictureNamesHook(tmp_path / 'data').before_test(runner)
