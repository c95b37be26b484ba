"""Which keypoints mirror each other and how far each may be off: by the file, the names or an option."""

import json
from pathlib import Path

import pytest
from mmengine.config import Config

from helpers.own_data import SPLITS, build, overheard, write_coco
from helpers.tooling import CONFIGS
from inimg_mm.data_files import checks
from inimg_mm.data_files.annotation_files import look_through
from inimg_mm.datasets import own_data
from inimg_mm.datasets.own_keypoints import COCO_PERSON, COCO_SIGMAS, by_names, keypoint_metainfo
from inimg_mm.errors import AnnotationError, UsageError
from inimg_mm.launch import load_config

CONFIG = CONFIGS['td-hm_se-r18_digits-96x96']
OWL = ['left_eye', 'right_eye', 'beak']


# ---- names -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('left', 'right'),
    [
        ('left_ankle', 'right_ankle'),
        ('l_ankle', 'r_ankle'),
        ('L.Knee', 'R.Knee'),
        ('Left_Wrist', 'Right_Wrist'),
        ('ankle.L', 'ankle.R'),
        ('ankle_left', 'ankle_right'),
        ('lAnkle', 'rAnkle'),
        ('LAnkle', 'RAnkle'),
        ('ankleL', 'ankleR'),
        ('AnkleLeft', 'AnkleRight'),
        ('leftAnkle', 'rightAnkle'),
        ('left ankle', 'right ankle'),
        ('Left-Ankle', 'Right-Ankle'),
        ('LEFT_ANKLE', 'RIGHT_ANKLE'),
        ('leftankle', 'rightankle'),
        ('Lankle', 'Rankle'),
        ('front_left_paw', 'front_right_paw'),
        ('L_F_Paw', 'R_F_Paw'),
        ('left1', 'right1'),
        ('LF', 'RF'),
        ('fl', 'fr'),
        ('AnkleLt', 'AnkleRt'),
    ],
)
def test_usual_words_for_the_sides(left, right):
    assert by_names(['nose', right, 'tail', left]) == {left: right, right: left}


@pytest.mark.parametrize(
    'names',
    [
        ['nose', 'tail', 'heel', 'ear'],
        ['left_foot', 'nose'],
        ['upright', 'lamp'],
        ['lip', 'ridge', 'Leg'],
        ['L5', 'nose'],
    ],
)
def test_names_without_another_side(names):
    assert by_names(names) == {}


def test_cocos_persons_mirror_as_coco_says():
    pytest.importorskip('mmpose')
    from mmpose.datasets import CocoDataset
    from mmpose.datasets.datasets.utils import parse_pose_metainfo

    ours, said = keypoint_metainfo(dict(name='person', keypoints=list(COCO_PERSON)), 'x.json')
    theirs = parse_pose_metainfo(CocoDataset.METAINFO)
    assert parse_pose_metainfo(ours)['flip_indices'] == theirs['flip_indices']
    assert ours['sigmas'] == pytest.approx(theirs['sigmas'].tolist())
    assert list(theirs['keypoint_name2id']) == list(COCO_PERSON)
    assert said[0] == "sigmas are COCO's"


def test_seventeen_others_have_not_cocos_sigmas():
    names = [f'joint_{number}' for number in range(17)]
    metainfo, said = keypoint_metainfo(dict(name='crab', keypoints=names), 'x.json')
    assert metainfo['sigmas'] == [0.05] * 17 != list(COCO_SIGMAS)
    assert said == [
        'sigmas are 0.05 each, which sets the scale of AP (sigmas=…)', 'none mirrors another (flip_pairs=…)'
    ]  # fmt: skip


# ---- the file and the options ------------------------------------------------------------------------------


def test_what_the_file_says_counts():
    category = dict(
        name='owl',
        keypoints=OWL,
        sigmas=[0.1, 0.1, 0.2],
        flip_pairs=[['left_eye', 'beak']],
        skeleton=[[1, 3]],
    )
    metainfo, said = keypoint_metainfo(category, 'x.json')
    assert metainfo['sigmas'] == [0.1, 0.1, 0.2]
    assert [metainfo['keypoint_info'][i]['swap'] for i in range(3)] == ['beak', '', 'left_eye']
    assert [link['link'] for link in metainfo['skeleton_info'].values()] == [('left_eye', 'beak')]
    assert said == []


def test_options_come_before_the_file():
    category = dict(name='owl', keypoints=OWL, sigmas=[0.1] * 3, flip_pairs=[[1, 3]], skeleton=None)
    options = dict(sigmas=0.2, flip_pairs=[], skeleton=[('beak', 'left_eye'), (2, 3)])
    metainfo, said = keypoint_metainfo(category, 'x.json', **options)
    assert metainfo['sigmas'] == [0.2] * 3
    assert {point['swap'] for point in metainfo['keypoint_info'].values()} == {''}
    links = [link['link'] for link in metainfo['skeleton_info'].values()]
    assert links == [('beak', 'left_eye'), ('right_eye', 'beak')]
    assert said == []


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(sigmas=[0.1, 0.1]), 'sigmas are 3 positive numbers, one a keypoint, and not'),
        (dict(sigmas=[0.1, 0, 0.1]), 'sigmas are 3 positive numbers'),
        (dict(sigmas='coco'), "sigmas are 3 positive numbers, one a keypoint, and not 'coco'"),
        (dict(flip_pairs=[('left_eye', 'tail')]), r"and \('left_eye', 'tail'\) is none; the keypoints are"),
        (dict(flip_pairs=['left_eye']), "and 'left_eye' is none"),
        (dict(flip_pairs=[(1, 2), (2, 3)]), 'each keypoint is in one pair at most'),
        (dict(flip_pairs=[(1, 1)]), 'each keypoint is in one pair at most'),
        (dict(skeleton=[(0, 1)]), r'^a skeleton links .*numbers, 1 to 3, and \(0, 1\) is no such link'),
        (dict(skeleton=[('beak', 'tail')]), 'a skeleton links'),
    ],
)
def test_options_that_do_not_fit(options, message):
    with pytest.raises(UsageError, match=message):
        keypoint_metainfo(dict(name='owl', keypoints=OWL), 'x.json', **options)


@pytest.mark.parametrize(
    'broken',
    [dict(sigmas=[0.1]), dict(flip_pairs=[[1, 4]]), dict(flip_pairs=[[1, 1]]), dict(skeleton=[[0, 1]])],
)
def test_a_file_that_does_not_fit_is_named(broken):
    with pytest.raises(UsageError, match=r'^x\.json: '):
        keypoint_metainfo(dict(name='owl', keypoints=OWL, **broken), 'x.json')


def test_a_side_without_its_other_is_named():
    names = ['left_knee', 'right_knee', 'left_ankel', 'right_ankle', 'nose']
    _, said = keypoint_metainfo(dict(name='owl', keypoints=names), 'x.json')
    assert said[1:] == [
        'mirrored by their names: left_knee-right_knee',
        'there is no other side of left_ankel, right_ankle (flip_pairs=…)',
    ]


def test_a_mirror_changes_every_side():
    corners = [
        'left_eye_left_corner',
        'left_eye_right_corner',
        'right_eye_left_corner',
        'right_eye_right_corner',
    ]
    assert list(by_names(corners).values()) == corners[::-1]
    assert by_names(['left_leg_l1', 'right_leg_l1'])['left_leg_l1'] == 'right_leg_l1'


@pytest.mark.parametrize('names', [None, [], ['a', 'a'], ['a', 3], 'abc'])
def test_names_that_are_none(names):
    with pytest.raises(UsageError, match='names no keypoints|two keypoints with the name'):
        keypoint_metainfo(dict(name='owl', keypoints=names), 'x.json')


# ---- in a config -----------------------------------------------------------------------------------------


def poses(root, *categories):
    return write_coco(root, list(categories), dict(train=[(40, 30)] * 2, val=[(40, 30)]))


def test_one_side_alone_mirrors_to_itself(tmp_path, said):
    root = poses(tmp_path, dict(id=1, name='owl', keypoints=['left_foot', 'beak', 'tail'], skeleton=None))
    cfg = Config.fromfile(CONFIG)
    own_data(cfg, str(root), flip=0.5)
    for loader in SPLITS:
        dataset = build(cfg, loader)
        assert dataset.metainfo['flip_indices'] == [0, 1, 2]
        assert dataset.metainfo['skeleton_links'] == []
        dataset[0]
    assert any('no keypoint has another side: give flip_pairs, or flip=0' in text for text in said)
    said.clear()
    cfg = Config.fromfile(CONFIG)
    own_data(cfg, str(root), flip=0)
    assert not any('another side' in text for text in said)


@pytest.mark.parametrize(
    ('head', 'line'),
    [
        (dict(type='RegressionHead', num_joints=17), dict(num_joints=3)),
        (dict(type='AssociativeEmbeddingHead', num_keypoints=17), dict(num_keypoints=3)),
        (dict(type='VisPredictHead', pose_cfg=dict(out_channels=17)), dict(pose_cfg=dict(out_channels=3))),
        (
            dict(type='HeatmapHead', out_channels=51, decoder=dict(heatmap_type='combined')),
            dict(out_channels=9),
        ),
    ],
)
def test_every_head_is_told_its_joints(tmp_path, head, line):
    cfg = Config.fromfile(CONFIG)
    cfg.model.head = dict(head)
    own_data(cfg, str(poses(tmp_path, dict(id=1, name='owl', keypoints=OWL))))
    assert cfg.model.head == head | line


@pytest.fixture
def said(monkeypatch):
    """What own data says of itself."""
    return overheard(monkeypatch)


def test_what_was_assumed_is_said(tmp_path, said):
    own_data(Config.fromfile(CONFIG), str(poses(tmp_path, dict(id=1, name='owl', keypoints=OWL))))
    assert any('sigmas are 0.05 each' in text for text in said)
    assert any('mirrored by their names: left_eye-right_eye' in text for text in said)


@pytest.fixture
def two(tmp_path):
    """Owls, and a frog with two keypoints, which mmpose reads as an owl."""
    owl = dict(id=1, name='owl', keypoints=OWL)
    root = poses(tmp_path / 'data', owl, dict(id=2, name='frog', keypoints=['head', 'tail']))
    for name in ('train', 'val'):
        content = json.loads((root / f'{name}.json').read_text())
        for annotation in content['annotations']:
            if annotation['category_id'] == 2:
                annotation.update(keypoints=[6, 6, 2, 18, 6, 2], num_keypoints=2)
        (root / f'{name}.json').write_text(json.dumps(content))
    return root


def test_categories_with_different_keypoints(two, tmp_path):
    with pytest.raises(UsageError, match=r"different keypoints, 'owl' \(3\), 'frog' \(2\), .* --classes owl"):
        own_data(Config.fromfile(CONFIG), str(two))
    for name, count in (('owl', 3), ('frog', 2)):
        cfg = load_config(CONFIG, work_dir=tmp_path / name, data_root=two, classes=[name])
        assert cfg.model.head.out_channels == count
        checks.check_annotations(cfg, ('train_dataloader', 'val_dataloader'))
        for loader in ('train_dataloader', 'val_dataloader'):
            dataset = build(cfg, loader)
            assert len(dataset) == (2 if loader.startswith('train') else 1)
            assert {dataset.get_data_info(i)['keypoints'].shape[1] for i in range(len(dataset))} == {count}
        truth = json.loads(Path(cfg.val_evaluator.ann_file).read_text())
        assert len(truth['annotations']) == 1
    with pytest.raises(
        UsageError, match=r"train.json has no class 'toad'; its classes are \['frog', 'owl'\]"
    ):
        own_data(Config.fromfile(CONFIG), str(two), classes=['toad'])


def test_a_plain_config_on_categories_with_different_keypoints(two, tmp_path):
    cfg = load_config(CONFIG, work_dir=tmp_path / 'w')
    cfg.train_dataloader.dataset.update(data_root=str(two), ann_file='train.json')
    cfg.train_dataloader.dataset.pop('metainfo')
    with pytest.raises(AnnotationError, match='has categories with different keypoints'):
        checks.check_annotations(cfg, ('train_dataloader',))


def test_the_category_that_has_keypoints_is_meant(tmp_path):
    """As an export writes a placeholder before it."""
    root = poses(tmp_path, dict(id=0, name='zoo'), dict(id=1, name='owl', keypoints=OWL))
    cfg = Config.fromfile(CONFIG)
    own_data(cfg, str(root))
    assert cfg.train_dataloader.dataset.metainfo.classes == ('owl',)
    assert (
        look_through(root / 'train.json', checks.reading_of(cfg, 'train_dataloader')).annotated()['owl'] == 2
    )


@pytest.mark.parametrize(
    ('metrics', 'kinds'),
    [
        (None, ['CocoMetric']),
        ('pck', ['PCKAccuracy']),
        (('ap', 'pck'), ['CocoMetric', 'PCKAccuracy']),
        (['pck', 'ap', 'ap'], ['CocoMetric', 'PCKAccuracy']),
    ],
)
def test_metrics(metrics, kinds, tmp_path):
    cfg = Config.fromfile(CONFIG)
    own_data(cfg, str(poses(tmp_path, dict(id=1, name='owl', keypoints=OWL))), metrics=metrics)
    for key in ('val_evaluator', 'test_evaluator'):
        found = cfg[key] if isinstance(cfg[key], list) else [cfg[key]]
        assert [metric['type'] for metric in found] == kinds


@pytest.mark.parametrize('metrics', ['auc', ('ap', 'auc'), (), 3])
def test_metrics_that_are_none(metrics, tmp_path):
    root = poses(tmp_path, dict(id=1, name='owl', keypoints=OWL))
    with pytest.raises(UsageError, match=r"metrics are of \('ap', 'pck'\), and not"):
        own_data(Config.fromfile(CONFIG), str(root), metrics=metrics)
