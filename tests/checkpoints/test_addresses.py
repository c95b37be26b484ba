"""Checkpoints by URL and by the names that mmengine knows; the server is on this machine."""

import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch
from mmengine.runner import checkpoint

from helpers.files import PAGE, WEIGHTS, assert_weights, saved
from inimg_mm.checkpoints import CheckpointError, addresses, read_state_dict


@pytest.fixture
def server(tmp_path, monkeypatch):
    """The address of a server over ``tmp_path / 'www'``, and what was asked of it; torch's cache is empty."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'cache'))
    monkeypatch.setenv('no_proxy', '127.0.0.1')
    (tmp_path / 'www' / 'other').mkdir(parents=True)
    asked = []

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(tmp_path / 'www'))

        def log_message(self, *args):
            asked.append(self.path)

    http = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    yield f'http://127.0.0.1:{http.server_port}', asked
    http.shutdown()
    http.server_close()


def test_url_is_fetched_once(server, tmp_path):
    url, asked = server
    saved(tmp_path / 'www' / 'net-0123abcd.pth', WEIGHTS)
    for _ in range(2):
        assert_weights(read_state_dict(f'{url}/net-0123abcd.pth'))
    assert asked == ['/net-0123abcd.pth']
    assert (tmp_path / 'cache' / 'hub' / 'checkpoints' / 'net-0123abcd.pth').is_file()


def test_two_files_of_one_name_are_two_files(server, tmp_path):
    url, _ = server
    other = {'conv1.weight': torch.zeros(3)}
    saved(tmp_path / 'www' / 'best.pth', WEIGHTS)
    saved(tmp_path / 'www' / 'other' / 'best.pth', other)
    assert_weights(read_state_dict(f'{url}/best.pth'))
    assert_weights(read_state_dict(f'{url}/other/best.pth'), other)


def test_url_that_is_not_there(server, tmp_path):
    url, _ = server
    with pytest.raises(CheckpointError, match=f'cannot download {url}/none.pth: .*404'):
        read_state_dict(f'{url}/none.pth')
    assert not list((tmp_path / 'cache').rglob('*none*'))


def test_server_that_is_not_there(server):
    with pytest.raises(CheckpointError, match='cannot download http://127.0.0.1:1/net.pth: '):
        read_state_dict('http://127.0.0.1:1/net.pth')


def test_url_of_a_web_page(server, tmp_path):
    url, _ = server
    (tmp_path / 'www' / 'login.pth').write_bytes(PAGE)
    with pytest.raises(CheckpointError, match=r'login\.pth is a web page'):
        read_state_dict(f'{url}/login.pth')


def test_local_addresses(tmp_path):
    path = saved(tmp_path / 'weights.pth', WEIGHTS)
    assert_weights(read_state_dict(f'file://{path}'))
    with pytest.raises(CheckpointError, match=r'cannot open gopher://.*: no file backend for gopher://'):
        read_state_dict('gopher://weights.pth')


def test_names_of_published_models():
    pytest.importorskip('torchvision')
    with pytest.raises(CheckpointError, match=r"torchvision:// has no model 'resnet51'; close .*'resnet50'"):
        read_state_dict('torchvision://resnet51')
    with pytest.raises(CheckpointError, match=r"open-mmlab:// has no model 'qqqqqq'; close to it: none"):
        read_state_dict('open-mmlab://qqqqqq')
    with pytest.raises(CheckpointError, match=r"mmcls:// has no model 'se-resnet51'; close .*'se-resnet50'"):
        read_state_dict('mmcls://se-resnet51')


@pytest.mark.parametrize('name', ['mmcls://se-resnet50', 'open-mmlab://resnet50_caffe'])
def test_names_are_looked_up_as_mmengine_does(name, monkeypatch, tmp_path):
    path = saved(tmp_path / 'weights.pth', WEIGHTS)
    asked = []
    monkeypatch.setattr(addresses, '_download', lambda url: asked.append(url) or path)
    assert_weights(read_state_dict(name))
    monkeypatch.setattr(checkpoint, 'load_from_http', lambda url, **options: asked.append(url) or WEIGHTS)
    checkpoint.CheckpointLoader.load_checkpoint(name)
    assert asked[0] == asked[1]
