#!/usr/bin/env bash
# Makes or reuses .venv and installs the pinned set (requirements.txt) into it, in the order it needs.
#
#   tools/install.sh [EXTRA...]      EXTRA: mm pose seg bench demo dev, or all (default: mm pose demo dev)
#
# A second run does what is missing and nothing else, also after an interruption. Each step leaves a
# stamp in .venv/.install when it has succeeded, and its output beside it.
#
#   PYTHON=...            the Python (3.10, 3.11 or 3.12) to make .venv with (default: one for which a wheel of mmcv
#                         is in MMCV_FIND_LINKS or pip's cache, else 3.12, for which there are prebuilt ones, 3.11, 3.10)
#   MMCV_FIND_LINKS=...   a folder or a page with mmcv wheels, tried before anything else
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=$root/.venv
py=$venv/bin/python
state=$venv/.install
choices=(mm pose seg bench demo dev)
supported='import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 13))'
job='' # the process group of the running step

say() { printf '%s\n' "$*" >&3; }
note() { # a line of its own within a step's line
    printf '\n        %s' "$*" >&3
    : >"$state/noted"
}
die() {
    printf 'install.sh: %s\n' "$*" >&2
    exit 1
}

pin() { sed -n "s/^$1==//p" "$root/requirements.txt"; }
pip_install() { "$py" -m pip install --progress-bar off --constraint requirements.txt "$@"; }

# ---- before anything is downloaded ------------------------------------------------------------------

find_python() { # sets $python: for 3.12 there are prebuilt wheels of mmcv, unless one was built here for another
    local candidates=(python3.12 python3.11 python3.10 python3) candidate version lack found=''
    if usable_venv; then candidates=("$py"); elif [[ -n ${PYTHON:-} ]]; then candidates=("$PYTHON"); fi
    for candidate in "${candidates[@]}"; do
        version=$("$candidate" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null) || continue
        lack=$(lacks "$candidate")
        if [[ -n $lack ]]; then
            [[ -n ${python:-} ]] || found+="${found:+;} $candidate $version, $lack"
        elif has_mmcv "${version%.*}"; then
            python=$candidate
            break
        else
            python=${python:-$candidate}
        fi
    done
    [[ -n ${python:-} ]] || die 'needs Python 3.10, 3.11 or 3.12 with its venv module and Python.h' \
        "(looked at ${candidates[*]}; found${found:- nothing}):" \
        'install one, or name it: PYTHON=/path/to/python3.12 tools/install.sh'
    [[ -z $found ]] || say "takes $python and passes over$found"
}

lacks() { # PYTHON: why it does not serve, if it does not
    if ! "$1" -c "$supported" 2>/dev/null; then
        echo 'which is another version'
    elif ! "$1" -c 'import ensurepip, venv' 2>/dev/null; then
        echo 'which has no venv module (on Debian: python3-venv)'
    elif [[ ! -f $("$1" -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h ]]; then
        echo 'which has no Python.h to compile against (on Debian: python3-dev)'
    fi
}

has_mmcv() { # VERSION: a wheel of the pinned mmcv for that Python is in MMCV_FIND_LINKS, kept here, or in pip's cache
    local cache=${PIP_CACHE_DIR:-${XDG_CACHE_HOME:-${HOME:-}/.cache}/pip} wheel
    wheel=onedl_mmcv-$(pin onedl-mmcv)-cp${1/./}-'*.whl'
    compgen -G "${MMCV_FIND_LINKS:-.}/$wheel" || compgen -G "$cache/wheels/*/*/*/*/$wheel" ||
        compgen -G "$cache/inimg_mm/torch-$(pin torch)-$device/$wheel"
} >/dev/null

check_compiler() {
    local compiler
    for compiler in ${CXX:-c++ g++ clang++}; do
        if "$compiler" -std=c++17 -x c++ -fsyntax-only - <<<'#include <vector>' 2>/dev/null; then
            [[ $compiler == c++ ]] || export CXX=$compiler
            return
        fi
    done
    die "needs a C++17 compiler, and none of ${CXX:-c++ g++ clang++} works:" \
        'install one (on Debian: build-essential), or name it in CXX'
}

check_disk() {
    local need=3 free
    compgen -G "$venv/lib/python3*/site-packages/torch-*" >/dev/null || need=12
    free=$(df -Pk "$root" | awk 'NR == 2 { print int($4 / 1048576) }')
    ((free >= need)) || die "needs $need GB of free disk space in $root, there are $free GB"
}

# ---- steps --------------------------------------------------------------------------------------------

usable_venv() { # runs, has pip, was made here and, where PYTHON is set, by that version
    [[ -x $py ]] && "$py" -c "$supported" && "$py" -m pip --version &&
        grep -qF "$venv/" "$venv/bin/pip" && { [[ -z ${PYTHON:-} ]] || [[ $("$py" -V) == "$("$PYTHON" -V)" ]]; }
} >/dev/null 2>&1

make_venv() {
    usable_venv && return
    [[ ! -e $venv ]] || say "making .venv anew: it is incomplete, was moved, or has another Python"
    rm -rf "$venv"
    "$python" -m venv "$venv"
    usable_venv || die "$python made no working .venv"
}

install_torch() { pip_install torch torchvision numpy safetensors; }
install_build-tools() { pip_install setuptools wheel ninja psutil packaging cython; }
install_mm() { install_extra mm mmdet mmpretrain; }
install_seg() { install_extra seg mmseg; }
install_bench() { install_extra bench timm fvcore onnx onnxruntime onnxscript pytorch_grad_cam pytorchcv; }
install_demo() { install_extra demo skimage sklearn matplotlib rich; }
install_dev() { install_extra dev pytest xdist hypothesis coverage; }

install_pose() { # xtcocotools' wheel was built for NumPy 1; mmpose names a package that no longer builds
    pip_install --no-build-isolation --no-deps --no-binary xtcocotools xtcocotools
    pip_install --no-deps mmpose
    install_extra pose xtcocotools.coco mmpose.apis
}

install_extra() { # NAME MODULE...: the package with that extra, then the modules imported as a check
    pip_install --no-build-isolation --editable ".[$1]"
    headless_cv2
    "$py" -c "import $(IFS=,; echo "${*:2}")"
}

headless_cv2() { # opencv-python wants libGL, which a bare server lacks; the headless build has the same files
    "$py" -c 'import importlib.util; importlib.util.find_spec("cv2") and __import__("cv2")' ||
        pip_install --force-reinstall --no-deps opencv-python-headless
}

# ---- mmcv: there is no wheel on PyPI ------------------------------------------------------------------

install_mmcv() {
    local folders links page='' torch
    if mmcv_works; then return; fi
    # A wheel in pip's cache does not say which torch it was built for: mmcv_from tries its ops.
    mapfile -t folders < <("$py" -m pip cache list onedl_mmcv --format=abspath | xargs -r -d '\n' dirname)
    for links in ${MMCV_FIND_LINKS:+"$MMCV_FIND_LINKS"} "$wheels" "${folders[@]}"; do
        if mmcv_from "$links"; then return; fi
    done
    if mmcv_through_mim; then return; fi
    # mim goes by the CUDA of torch's build, which PyPI's has on a machine without a GPU, too
    torch=$(pin torch)
    torch=cpu-torch${torch//./} # its pages are those of a minor version: 2.9.1 is torch290
    if [[ -n $page && $device == cpu ]] && mmcv_from "$page/${torch%?}0/simple/onedl-mmcv/index.html"; then return; fi
    compile_mmcv
    mmcv_from "$wheels"
}

mmcv_works() { # the pinned version is there, and its ops run on the device that we have
    "$py" - "$(pin onedl-mmcv)" "$device" <<'PY'
import sys
from importlib.metadata import version

import torch
from mmcv.ops import nms, roi_align

wanted, device = sys.argv[1:]
assert version('onedl-mmcv').split('+')[0] == wanted, version('onedl-mmcv')
boxes = torch.tensor([[0.0, 0, 9, 9], [0, 0, 9, 8], [20, 20, 30, 30]], device=device)
scores = torch.tensor([0.9, 0.8, 0.7], device=device)
assert nms(boxes, scores, iou_threshold=0.5)[1].tolist() == [0, 2]
rois = torch.tensor([[0.0, 1, 1, 5, 5]], device=device)
assert roi_align(torch.ones(1, 1, 8, 8, device=device), rois, 2).sum() == 4
print(f'mmcv {wanted}: nms and roi_align run on {device}')
PY
}

mmcv_from() { # LINKS: a folder or page with wheels
    [[ $1 == *://* ]] || compgen -G "$1/onedl_mmcv-*.whl" || return 1
    "$py" -m pip uninstall --yes --quiet onedl-mmcv &&
        pip_install --only-binary onedl-mmcv --find-links "$1" onedl-mmcv && headless_cv2 && mmcv_works &&
        note "mmcv works, from $1"
}

mmcv_through_mim() { # the fork's installer knows where its wheels are; without a network this takes seconds
    local mim=$TMPDIR/mim impatient=(--timeout 5 --retries 0) target
    target=(--target "$mim" --upgrade --no-build-isolation "onedl-mim==$(pin onedl-mim)")
    "$py" -m pip install "${impatient[@]}" --no-deps "${target[@]}" &&
        page=$("$py" - "$mim/mim/utils/default.py" <<'PY'
import os
import runpy
import sys
import urllib.error
import urllib.request

page = os.environ.get('MMCV_BASE_URL') or runpy.run_path(sys.argv[1])['DEFAULT_MMCV_BASE_URL']
try:
    urllib.request.urlopen(page, timeout=5).close()
except urllib.error.HTTPError:
    pass  # it answers
except OSError as error:
    sys.exit(f'mim has no wheel for us: {page} does not answer ({error})')
print(page)
PY
        ) &&
        pip_install "${target[@]}" &&
        PYTHONPATH=$mim "$py" -m mim install "${impatient[@]}" --no-deps --only-binary onedl-mmcv \
            "onedl-mmcv==$(pin onedl-mmcv)" &&
        pip_install onedl-mmcv && headless_cv2 && mmcv_works && note 'mim had a prebuilt mmcv'
}

compile_mmcv() { # in a folder that outlives an interruption: ninja goes on where it was
    local source archive
    source=$state/mmcv-$(pin onedl-mmcv)-$(basename "$wheels")
    if [[ $device == cuda ]] && ! command -v nvcc >/dev/null; then
        echo 'There is an NVIDIA GPU, but neither a wheel of mmcv with CUDA ops nor nvcc to compile them.'
        echo "Install the CUDA toolkit that torch was built with, or name a folder with such a wheel in MMCV_FIND_LINKS."
        return 1
    fi
    note "compiling mmcv for $device: 10 to 16 minutes on 2 cores, here are $(nproc); CUDA ops take longer"
    if [[ ! -d $source ]]; then
        "$py" -m pip download --no-deps --no-build-isolation --no-binary onedl-mmcv --dest "$state/sdist" \
            "onedl-mmcv==$(pin onedl-mmcv)"
        archive=$(echo "$state"/sdist/onedl_mmcv-*.tar.gz)
        mkdir -p "$source.part"
        tar -xf "$archive" -C "$source.part" --strip-components 1
        mv "$source.part" "$source"
    fi
    export MMCV_WITH_OPS=1 FORCE_CUDA=0 MAX_JOBS=${MAX_JOBS:-$(nproc)}
    [[ $device == cpu ]] || FORCE_CUDA=1
    "$py" -m pip wheel --verbose --no-deps --no-build-isolation --wheel-dir "$wheels" "$source"
}

# ---- the run ------------------------------------------------------------------------------------------

fingerprint() { # what a stamp holds: the step is done again when any of this changes
    { cat requirements.txt setup.py inimg_mm/version.py tools/install.sh; "$py" -V; echo "$root" "$device"
      compgen -G "$venv/lib/python3*/site-packages/torch-*" || true; } | sha256sum
}
in_place() { [[ -f $state/$1.done && $(<"$state/$1.done") == "$(fingerprint)" ]]; }

step() { # NUMBER NAME: runs install_NAME in the background, its output in a log, and says how it goes
    local began=$SECONDS log=$state/$2.log beat=60
    printf '%-8s%-12s' "[$1]" "$2" >&3
    if in_place "$2"; then say 'in place'; return; fi
    rm -f "$state/noted"
    set -m # a process group of its own, so that an interruption takes all of it along
    "install_$2" </dev/null >"$log" 2>&1 &
    job=$!
    set +m
    while kill -0 "$job" 2>/dev/null; do
        sleep 0.3
        if ((SECONDS - began >= beat)); then
            note "$((beat / 60)) min: $(tail -n 1 "$log" | cut -c 1-80)"
            ((beat += 60))
        fi
    done
    if ! wait "$job"; then
        say ''
        tail -n 25 "$log" >&2
        die "step $2 failed; its whole output is in $log. What was done stays done: run the same command again."
    fi
    job=''
    fingerprint >"$state/$2.done"
    [[ ! -e $state/noted ]] || note ''
    say "$((SECONDS - began)) s"
}

halted() { # STATUS
    printf '\ninstall.sh: stopped. What was done stays done: run the same command again.\n' >&2
    exit "$1"
}
stop() { [[ -z $job ]] || kill -- "-$job" 2>/dev/null || true; }

steps_for() { # EXTRA...: all steps, in order; mmcv where an mm toolbox is asked for
    echo torch build-tools
    [[ " $* " != *' mm '* && " $* " != *' pose '* && " $* " != *' seg '* ]] || echo mmcv
    printf '%s\n' "$@"
}

main() {
    local extras=("$@") extra steps name pending=0 index=0
    if [[ " $* " == *' -h '* || " $* " == *' --help '* ]]; then
        sed -n '2,/^set/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
        return
    fi
    ((${#extras[@]})) || extras=(mm pose demo dev)
    [[ " $* " != *' all '* ]] || extras=("${choices[@]}")
    for extra in "${extras[@]}"; do
        [[ " ${choices[*]} " == *" $extra "* ]] || die "there is no extra '$extra': choose from ${choices[*]}, or all"
    done
    cd "$root"
    exec 3>&1 9<requirements.txt
    flock --nonblock 9 || { say 'waiting for another install in this folder'; flock 9; }

    device=cpu
    [[ $(nvidia-smi -L 2>/dev/null) != 'GPU '* ]] || device=cuda
    read -ra steps -d '' < <(steps_for "${extras[@]}") || true
    if usable_venv; then for name in "${steps[@]}"; do in_place "$name" || pending=1; done; else pending=1; fi
    ((pending)) || { say "everything is in place: ${steps[*]}"; return; }

    find_python
    check_compiler
    check_disk
    trap stop EXIT
    trap 'halted 130' INT
    trap 'halted 143' TERM
    make_venv
    export TMPDIR=$state/tmp PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONNOUSERSITE=1
    rm -rf "$TMPDIR" && mkdir -p "$TMPDIR"
    # where compiled wheels are kept, by their torch; a later .venv finds them there
    wheels=$("$py" -m pip cache dir 2>/dev/null || echo "$state")/inimg_mm/torch-$(pin torch)-$device
    for name in "${steps[@]}"; do step "$((++index))/${#steps[@]}" "$name"; done
    rm -rf "$TMPDIR" "$state/sdist" "$state"/mmcv-*/
}

main "$@"
