"""Class folders and label maps: hidden ones are none, all images count, what is not used is told."""

import pytest

from helpers.own_data import build, draw
from helpers.tooling import CONFIGS, QUICKEST
from inimg_mm.data_files import checks
from inimg_mm.data_files.class_folders import read_class_folders, told
from inimg_mm.data_files.image_files import why_another_size
from inimg_mm.data_files.label_maps import read_map_folders, why_no_label_map
from inimg_mm.errors import AnnotationError, UsageError
from inimg_mm.launch import load_config


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / 'train'
    for name in ('dog/1.webp', 'dog/deep/2.PNG', 'cat/3.tiff', 'cat/.ipynb_checkpoints/3.png', 'loose.png'):
        draw(root / name, (8, 6))
    draw(root / '.ipynb_checkpoints' / '1.png', (8, 6))
    (root / '__MACOSX' / 'dog').mkdir(parents=True)
    for name in ('cat/.DS_Store', 'cat/._3.tiff', 'cat/notes.txt', 'dog/4.gif', 'dog/README'):
        (root / name).touch()
    return root


def test_class_folders(folder):
    found = read_class_folders(folder)
    assert found.images == {'cat': ['cat/3.tiff'], 'dog': ['dog/1.webp', 'dog/deep/2.PNG']}
    assert found.others == {'.txt': 1, '.gif': 1, 'no suffix': 1}
    assert told(found).endswith('1 images that lie in no class folder')
    with pytest.raises(UsageError, match='nowhere cannot be read: No such file'):
        read_class_folders(folder / 'nowhere')
    draw(folder / 'dog' / '5.png', (8, 6))
    assert len(read_class_folders(folder).images['dog']) == 3  # another listing than before


def test_a_hosts_own_data_set(folder, tmp_path, monkeypatch):
    """Its hidden folders would be classes, and its images of other suffixes are left out."""
    pytest.importorskip('mmpretrain')
    said = []
    monkeypatch.setattr('inimg_mm.data_files.class_lists.print_log', lambda text, *_: said.append(text))
    cfg = load_config(CONFIGS[QUICKEST], work_dir=tmp_path / 'w')
    cfg.train_dataloader.dataset = dict(
        type='CustomDataset', data_root=str(folder.parent), data_prefix='train', pipeline=[]
    )
    checks.check_annotations(cfg, ('train_dataloader',))
    assert '1 images are used, and not' in said[0]
    assert all(text in said[0] for text in ('1 files with .webp', '1 files with .tiff', '1 files with .gif'))
    dataset = build(cfg, 'train_dataloader')
    assert dataset.metainfo['classes'] == ('cat', 'dog')
    assert {dataset.get_data_info(i)['img_path'][-5:] for i in range(len(dataset))} == {
        '.webp',
        '2.PNG',
        '.tiff',
    }


def test_a_class_without_images(folder, tmp_path):
    pytest.importorskip('mmpretrain')
    (folder / 'owl').mkdir()
    cfg = load_config(CONFIGS[QUICKEST], work_dir=tmp_path / 'w')
    cfg.train_dataloader.dataset = dict(
        type='CustomDataset', data_root=str(folder.parent), data_prefix='train', pipeline=[]
    )
    with pytest.raises(AnnotationError, match=r"the class 'owl' of .*train has no image"):
        checks.check_annotations(cfg, ('train_dataloader',))


def test_a_text_of_classes(folder, tmp_path):
    cfg = load_config(CONFIGS[QUICKEST], work_dir=tmp_path / 'w')
    cfg.train_dataloader.dataset = dict(
        type='CustomDataset', data_root=str(folder.parent), metainfo=dict(classes='thing'), pipeline=[]
    )
    with pytest.raises(UsageError, match=r"classes='thing', which is a text: write .*classes=\('thing',\)"):
        checks.check_data(cfg, ('train_dataloader',))


# ---- label maps ------------------------------------------------------------------------------------------


def test_label_maps(tmp_path):
    images, labels = tmp_path / 'images', tmp_path / 'labels'
    for name in ('b.jpg', 'city/a.png', '.hidden/c.jpg', 'city/.d.jpg'):
        draw(images / name, (8, 6))
    (images / 'notes.txt').touch()
    for name in ('b.png', 'city/a.png'):
        draw(labels / name, (8, 6))
    found = read_map_folders(images, labels)
    assert sorted(found.pairs) == [('b.jpg', 'b.png'), ('city/a.png', 'city/a.png')]
    assert found.others == {'.txt': 1}
    draw(images / 'b.webp', (8, 6))
    with pytest.raises(UsageError, match=r'b\.webp and b\.jpg would share the label map .*b\.png'):
        read_map_folders(images, labels)
    (images / 'b.webp').unlink()
    (labels / 'b.png').rename(labels / 'b_mask.png')
    with pytest.raises(UsageError, match=r"b\.jpg has no label map .*b\.png; there is 'b_mask\.png'"):
        read_map_folders(images, labels)
    with pytest.raises(UsageError, match='there is no folder'):
        read_map_folders(images, tmp_path / 'nowhere')
    (tmp_path / 'empty').mkdir()
    with pytest.raises(UsageError, match='there is no image in'):
        read_map_folders(tmp_path / 'empty', labels)


def test_images_that_mmsegs_data_set_leaves_out(tmp_path, monkeypatch):
    for name in ('a.jpg', 'b.png', 'city/c.JPG', '.hidden/d.png'):
        draw(tmp_path / 'images' / name, (8, 6))
    said = []
    monkeypatch.setattr(checks, 'warn', said.append)
    cfg = load_config(CONFIGS[QUICKEST], work_dir=tmp_path / 'w')
    cfg.train_dataloader.dataset = dict(
        type='BaseSegDataset', data_root=str(tmp_path), data_prefix=dict(img_path='images'), pipeline=[]
    )
    checks.check_annotations(cfg, ('train_dataloader',))
    assert '1 images are used, and not 1 files with .png, 1 files with .JPG, since img_suffix' in said[0]
    cfg.train_dataloader.dataset.type = 'inimg_mm.LabelMaps'
    checks.check_annotations(cfg, ('train_dataloader',))
    assert len(said) == 1


def test_what_is_wrong_with_a_label_map():
    assert why_no_label_map((30, 40), (30, 40)) is None
    assert why_no_label_map((30, 40), None) is None
    assert why_no_label_map((12, 30, 40), (12, 30)) is None  # a volume
    assert why_no_label_map((30, 40, 3), (30, 40)).startswith('it has 3 channels, and one class index')
    text = why_no_label_map((15, 20), (30, 40))
    assert text.startswith('it is 20 wide and 15 high, and its image 40 wide and 30 high')


def test_what_is_wrong_with_the_size_of_an_image():
    assert why_another_size({}, (30, 40)) is None
    assert why_another_size(dict(width=40, height=30), (30, 40)) is None
    assert why_another_size(dict(width=40.0, height=30), (30, 40, 3)) is None
    turned = why_another_size(dict(width=30, height=40), (30, 40))
    assert turned.startswith('it is 40 wide and 30 high as it is loaded, and 30 wide and 40 high in its')
    assert 'EXIF' in turned
    assert 'EXIF' not in why_another_size(dict(width=80, height=60), (30, 40))
