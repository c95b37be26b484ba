"""Reading a checkpoint runs nobody's code, and what cannot be read is one clear line."""

import pickle
import re

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from helpers.files import PAGE, WEIGHTS, Hostile, assert_weights, saved
from inimg_mm.checkpoints import CheckpointError, read_file, read_state_dict
from inimg_mm.checkpoints.reading import unwrap

# ---- code in a file does not run ---------------------------------------------------------------------------


def hostile_zip(path, content):
    torch.save(content, path)


def hostile_legacy(path, content):
    torch.save(content, path, _use_new_zipfile_serialization=False)


def hostile_pickle(path, content):
    path.write_bytes(pickle.dumps(content, protocol=2))


@pytest.mark.parametrize('write', [hostile_zip, hostile_legacy, hostile_pickle])
@pytest.mark.parametrize('place', ['alone', 'beside weights', 'in the weights', 'as a name'])
def test_hostile_pickle_does_not_run(tmp_path, write, place):
    target, path = tmp_path / 'created', tmp_path / 'weights.pth'
    hostile = Hostile(target)
    content = {
        'alone': hostile,
        'beside weights': dict(state_dict=WEIGHTS, meta=hostile),
        'in the weights': dict(WEIGHTS, bias=hostile),
        'as a name': {'state_dict': {'conv1': {hostile: torch.ones(1)}}},
    }[place]
    write(path, content)
    with pytest.raises(CheckpointError) as caught:
        read_state_dict(path)
    assert not target.exists()
    message = str(caught.value)
    assert '\n' not in message
    assert message.startswith(f'{path} is refused: it holds more than tensors (')
    assert re.search(r'\((\w+\.mkdir|torch[\w.]+)\), .*runs code which the file.s author chose', message)
    assert 'If you know who made it, --trust (in a config: trust=True) reads it' in message
    assert caught.value.__cause__ is None


@pytest.mark.filterwarnings('ignore:Detected pickle protocol')
@pytest.mark.parametrize('protocol', [0, 1, 3, 4, 5])
def test_nor_in_another_protocol(tmp_path, protocol):
    target, path = tmp_path / 'created', tmp_path / 'weights.pth'
    path.write_bytes(pickle.dumps(dict(WEIGHTS, bias=Hostile(target)), protocol=protocol))
    with pytest.raises(CheckpointError, match=r'is refused|is no checkpoint|is truncated'):
        read_state_dict(path)
    assert not target.exists()


def test_trust_unpickles(tmp_path):
    target = tmp_path / 'created'
    path = saved(tmp_path / 'weights.pth', dict(state_dict=WEIGHTS, meta=Hostile(target)))
    assert_weights(read_state_dict(path, trust=True))
    assert target.exists()


def test_trust_without_the_files_package(tmp_path):
    path = tmp_path / 'weights.pth'
    path.write_bytes(b'cno_such_package\nThing\n.')
    with pytest.raises(CheckpointError, match=r'is truncated, damaged, or no checkpoint: .*no_such_package'):
        read_file(path, trust=True)


def test_a_whole_pickled_model_is_refused_by_its_class(tmp_path):
    path = saved(tmp_path / 'model.pth', torch.nn.Linear(2, 2))
    with pytest.raises(CheckpointError, match=r'more than tensors \(torch\.nn\.modules\.linear\.Linear\)'):
        read_state_dict(path)


@pytest.mark.parametrize('dtype', ['U1', 'O', 'datetime64[D]'])
def test_arrays_of_other_things_than_numbers_are_refused_by_their_type(tmp_path, dtype):
    content = dict(state_dict=WEIGHTS, names=np.array(['2024'], dtype))
    with pytest.raises(
        CheckpointError, match=r'is refused: it holds more than tensors \(numpy\.dtypes\.\w+\)'
    ):
        read_state_dict(saved(tmp_path / 'weights.pth', content))


# ---- damaged and foreign files -----------------------------------------------------------------------------

FOREIGN = {
    'empty': (b'', 'is empty'),
    'web page': (PAGE, 'is a web page, not a checkpoint: the download went wrong'),
    'web page with a mark and blanks': (b'\xef\xbb\xbf\n\n' + PAGE.lower(), 'is a web page'),
    'xml': (b'<?xml version="1.0"?><Error/>', 'is a web page'),
    'text': (b'these are no weights\n' * 50, 'no checkpoint'),
    'pointer of git lfs': (
        b'version https://git-lfs.github.com/spec/v1\noid sha256:00\n',
        'is a Git LFS pointer',
    ),
    'picture': (b'\x89PNG\r\n\x1a\n' + bytes(500), 'no checkpoint'),
    'zeros': (bytes(4096), 'no checkpoint'),
    'a pickle of something else': (pickle.dumps([1, 2, 3]), 'holds no tensors|no checkpoint'),
}


@pytest.mark.filterwarnings('ignore:Detected pickle protocol')
@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
@pytest.mark.parametrize('kind', FOREIGN)
def test_foreign_files(tmp_path, kind, suffix):
    content, message = FOREIGN[kind]
    path = tmp_path / f'weights{suffix}'
    path.write_bytes(content)
    with pytest.raises(
        CheckpointError, match=f'{re.escape(str(path))} .*({message}|no safetensors file)'
    ) as caught:
        read_state_dict(path)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('share', [0.01, 0.3, 0.5, 0.9, 0.999])
@pytest.mark.parametrize('kind', ['zip', 'legacy', 'safetensors'])
def test_parts_of_files(tmp_path, kind, share):
    path = tmp_path / ('weights.safetensors' if kind == 'safetensors' else 'weights.pth')
    weights = {f'layer{i}.weight': torch.randn(20, 20) for i in range(20)}
    if kind == 'safetensors':
        save_file(weights, path)
    else:
        torch.save(weights, path, _use_new_zipfile_serialization=kind == 'zip')
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(CheckpointError, match=r'truncated|damaged') as caught:
        read_state_dict(path)
    assert '\n' not in str(caught.value)


def test_files_of_the_older_format_cut_off_anywhere(tmp_path):
    path = saved(tmp_path / 'weights.pth', dict(state_dict=WEIGHTS), _use_new_zipfile_serialization=False)
    content = path.read_bytes()
    for length in range(1, len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(CheckpointError, match='truncated'):  # never a reason to trust it
            read_state_dict(path)


def test_missing_file(tmp_path):
    with pytest.raises(CheckpointError, match=r'there is no checkpoint .*none\.pth$'):
        read_state_dict(tmp_path / 'none.pth')
    with pytest.raises(CheckpointError, match=f'{re.escape(str(tmp_path))} is a folder, not a checkpoint$'):
        read_state_dict(tmp_path)


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    path = saved(tmp_path / 'weights.pth', WEIGHTS)

    def closed(self, mode):
        raise PermissionError(13, 'Permission denied', str(self))

    monkeypatch.setattr(type(path), 'open', closed)
    with pytest.raises(CheckpointError, match=r'^cannot read .*weights\.pth: Permission denied$'):
        read_state_dict(path)


# ---- wrappers and prefixes ---------------------------------------------------------------------------------

WRAPPED = {
    'bare': WEIGHTS,
    'state_dict': dict(state_dict=WEIGHTS, meta=dict(epoch=3)),
    'model': dict(model=WEIGHTS, epoch=3, args=['--lr', 0.1]),
    'model_ema': dict(model_ema=WEIGHTS, optimizer={}),
    'model before model_ema': dict(model_ema={'x': torch.zeros(1)}, model=WEIGHTS),
    'nested': dict(model=dict(state_dict=WEIGHTS)),
    'beside a tensor': dict(state_dict=WEIGHTS, loss=torch.tensor(0.1)),
    'numbers among them': dict(WEIGHTS, epoch=3, name='net'),
    "mmengine's average": dict(state_dict=WEIGHTS, ema_state_dict=dict(steps=torch.tensor(3))),
}


@pytest.mark.parametrize('counter', ['n_averaged', 'steps'])
@pytest.mark.parametrize('wrapper', ['model_ema', 'ema_state_dict', None])
def test_averaged_models_have_a_counter_beside_them(tmp_path, wrapper, counter):
    average = {f'module.{name}': value for name, value in WEIGHTS.items()}
    average[counter] = torch.tensor(3)
    content = {wrapper: average, 'epoch': 3} if wrapper else average
    assert_weights(read_state_dict(saved(tmp_path / 'weights.pth', content)))


@pytest.mark.parametrize('kind', WRAPPED)
def test_wrappers(tmp_path, kind):
    assert_weights(read_state_dict(saved(tmp_path / 'weights.pth', WRAPPED[kind])))


def test_safetensors(tmp_path):
    save_file(WEIGHTS, tmp_path / 'weights.safetensors')
    assert_weights(read_state_dict(str(tmp_path / 'weights.safetensors')))


@pytest.mark.parametrize('content', [{}, [], 3, dict(state_dict={}), dict(model=dict(lr=0.1)), None], ids=str)
def test_no_tensors(tmp_path, content):
    assert unwrap(content) == {}
    with pytest.raises(CheckpointError, match=r'weights\.pth holds no tensors'):
        read_state_dict(saved(tmp_path / 'weights.pth', content))


def test_a_mapping_that_holds_itself(tmp_path):
    content = dict(epoch=1)
    content['model'] = content
    with pytest.raises(CheckpointError, match='holds no tensors'):
        read_state_dict(saved(tmp_path / 'weights.pth', content))


def test_an_unknown_wrapper_is_named(tmp_path):
    message = r"holds no tensors, alone or under state_dict, .*; its keys are \['net', 'epoch'\]$"
    with pytest.raises(CheckpointError, match=message):
        read_state_dict(saved(tmp_path / 'weights.pth', dict(net=WEIGHTS, epoch=3)))


@pytest.mark.parametrize(
    'prefix',
    [
        '',
        'module.',
        '_orig_mod.',
        'backbone.',
        'module._orig_mod.',
        '_orig_mod.module.',
        'module.backbone.',
        'backbone.module.',
        'backbone._orig_mod.',
        'module._orig_mod.backbone.',
        '_orig_mod.backbone._orig_mod.',
        'module.module.backbone.',
    ],
)
def test_prefixes(tmp_path, prefix):
    state = {prefix + name: value for name, value in WEIGHTS.items()}
    if 'backbone' in prefix:
        other = prefix[: prefix.index('backbone')]
        state[f'{other}neck.weight'] = state[f'{other}head.fc.bias'] = torch.zeros(3)
    assert_weights(read_state_dict(saved(tmp_path / 'weights.pth', state)))


@pytest.mark.parametrize('prefix', ['teacher.encoder', 'teacher.encoder.'])
def test_a_prefix_of_ones_own(tmp_path, prefix):
    state = {f'teacher.encoder.{name}': value for name, value in WEIGHTS.items()}
    state['teacher.encoder2.weight'] = state['backbone.weight'] = torch.zeros(1)
    path = saved(tmp_path / 'weights.pth', state)
    assert_weights(read_state_dict(path, prefix=prefix))
    with pytest.raises(
        CheckpointError, match=r"no tensor under prefix 'student\.'.*\['backbone', 'teacher'\]"
    ):
        read_state_dict(path, prefix='student')


def test_whole_models_keep_their_names(tmp_path):
    state = {'backbone.conv1.weight': torch.ones(1), 'neck.weight': torch.ones(1)}
    assert_weights(read_state_dict(saved(tmp_path / 'weights.pth', state), prefix=''), state)
