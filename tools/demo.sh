#!/usr/bin/env bash
# From nothing to a trained model: installs, makes the demo data, trains, tests and draws.
#
#   tools/demo.sh [detector|all] [--smoke] [--no-install] [--work-dir DIR]
#
#   detector        Faster R-CNN with a CMPE-SE backbone (default): about ten minutes on two CPU cores
#   all             also the classifier, Mask R-CNN and the keypoint model
#   --smoke         a try-out of the whole way on a handful of pictures; its numbers mean nothing
#   --no-install    use the Python in PYTHON, or in .venv, as it is
#   --work-dir DIR  where everything trained goes (default: work_dirs/demo, or work_dirs/demo-smoke)
#
# What is finished is reused by the next call: the data, and what was trained from the same configs and code.
# An interrupted training goes on from its last checkpoint.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
detector=faster-rcnn_cmpese-r18_fpn_digits
others=(se-r18_digits mask-rcnn_ini-r18_fpn_digits td-hm_se-r18_digits-96x96)

models=("$detector") smoke='' install=1 work=''
python=$root/.venv/bin/python

die() {
    printf 'demo.sh: %s\n' "$*" >&2
    exit 1
}
headline() { printf '\n== %s\n' "$*"; }

main() {
    while (($#)); do
        case $1 in
            detector) ;;
            all) models=("$detector" "${others[@]}") ;;
            --smoke) smoke=1 ;;
            --no-install) install='' python=${PYTHON:-$python} ;;
            --work-dir) work=${2:?demo.sh: --work-dir takes a folder} && shift ;;
            -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" && return ;;
            *) echo "demo.sh: there is no '$1': see tools/demo.sh --help" >&2 && exit 2 ;;
        esac
        shift
    done
    work=$(realpath -m "${work:-$root/work_dirs/demo${smoke:+-smoke}}")
    [[ -z $install ]] || { headline install && "$root/tools/install.sh" mm pose demo dev; }

    # The configs read data/demo in the current folder: the smoke run has a small set in a folder of its own.
    local home=$root counts=()
    [[ -z $smoke ]] || home=$work counts=(--num-train=8 --num-val=4 --num-class-train=4 --num-class-val=1)
    mkdir -p "$work"
    cd "$home"
    headline 'demo data'
    "$python" "$root/tools/make_demo_data.py" data/demo "${counts[@]}"

    local name folders=() sheets=()
    for name in "${models[@]}"; do
        learn "$name"
        folders+=("$work/$name") sheets+=("$work/$name/contact_sheet.png")
    done

    headline result
    "$python" -W ignore "$root/tools/demo_report.py" "${folders[@]}" 2>"$work/report.log" || fail "$work/report.log"
    [[ -z $smoke ]] || echo 'This was a smoke run of a few iterations: these numbers mean nothing.'
    printf 'predictions next to ground truth: %s\n' "${sheets[@]}"
}

learn() { # NAME: train, test and draw one config
    local config=$root/configs/demo/$1.py folder=$work/$1 options=(default_hooks.checkpoint.max_keep_ckpts=1)
    if [[ -n $smoke ]]; then
        options+=(train_cfg.max_epochs=1 train_dataloader.batch_size=4 default_hooks.logger.interval=1)
    else
        options+=(default_hooks.logger.interval=20)
    fi
    claim "$folder" "$(fingerprint "$config" "${options[@]}")"
    stage "train $1" "$folder/trained" train "$config" --work-dir "$folder" --resume --cfg-options "${options[@]}"
    local trained=("$folder/$1.py" "$folder/$(basename "$(<"$folder/last_checkpoint")")")
    stage "test $1" "$folder/metrics.json" test "${trained[@]}" --out "$folder/metrics.json"
    stage "draw $1" "$folder/contact_sheet.png" contact_sheet "${trained[@]}" --out "$folder/contact_sheet.png" ${smoke:+--num-images 4}
}

fingerprint() { # CONFIG OPTION...: of all that a training depends on
    {
        cat "$1" data/demo/manifest.json
        printf '%s\n' "${@:2}"
        find "$root/configs/_base_" "$root/inimg_mm/models" -name '*.py' -print0 | sort -z | xargs -0 cat
    } | cksum
}

claim() { # FOLDER FINGERPRINT: keep what is in the folder if it is of the same training, else clear it
    [[ ! -f $1/fingerprint || $(<"$1/fingerprint") != "$2" ]] || return 0
    if [[ -f $1/fingerprint ]]; then
        echo "the config, the code or the data changed: training $(basename "$1") anew"
        rm -rf "$1"
    elif [[ -d $1 && -n $(ls -A "$1") ]]; then
        die "$1 is not from this demo: move it away, or choose another --work-dir"
    fi
    mkdir -p "$1"
    echo "$2" >"$1/fingerprint"
}

stage() { # TITLE PRODUCT TOOL ARGUMENT...: run a tool, unless its product is there, and show how far it is
    local began=$SECONDS log=$work/$3.log
    headline "$1"
    if [[ -e $2 ]]; then
        echo "    reused: $2"
        return
    fi
    # The readers outlive Ctrl-C, for the log to have the tool's last words.
    "$python" -u -W ignore "$root/tools/$3.py" "${@:4}" 2>&1 | (trap '' INT && tee "$log" | progress) ||
        fail "$log" "$([[ $3 != train ]] || going_on "$(dirname "$2")")"
    touch "$2"
    echo "    $((SECONDS - began)) s"
}

progress() { # the lines that say how far it is, each as it comes: Debian's awk reads in blocks
    local line
    while IFS= read -r line; do
        [[ $line != *'Epoch('* ]] || printf '    %.150s\n' "Epoch(${line#*Epoch(}"
    done
}

going_on() { # FOLDER: what the same command does about a training that has ended early
    if [[ -s $1/last_checkpoint ]]; then
        echo "The same command goes on from the last checkpoint, $(basename "$(<"$1/last_checkpoint")")."
    else
        echo 'There is no checkpoint yet: the same command begins that training anew.'
    fi
}

stopped() {
    printf '\ndemo.sh: stopped. The same command takes up what is finished, and a training from its last checkpoint.\n' >&2
    exit 130
}

fail() { # LOG [WHAT NOW]
    tail -n 25 "$1" >&2
    die "that failed; the whole output is in $1${2:+. $2}"
}

trap stopped INT
main "$@"
exit # the script may have changed while it ran
