# Sourced by dist_train.sh, dist_test.sh, slurm_train.sh and slurm_test.sh: what they share.
# shellcheck shell=bash
set -euo pipefail

script=$(basename "$0")
tools=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

die() {
    printf '%s: %s\n' "$script" "$*" >&2
    exit 2
}

begin() { # USAGE ARGUMENT...: prints the script's head for --help; dies if arguments of USAGE are missing
    local usage=$1 names name argument
    shift
    for argument; do
        case $argument in -h | --help)
            sed -n '2,/^[^#]/ s/^# \{0,1\}//p' "$0"
            exit
            ;;
        esac
    done
    read -ra names <<<"$usage"
    for name in "${names[@]}"; do
        [[ $# -gt 0 && $1 != -* ]] || die "$name is missing: $script $usage [ARGUMENT...] (--help says more)"
        shift
    done
    find_python
}

find_python() { # sets $python: PYTHON, or the project's own, or whichever is first on PATH
    local own=$tools/../.venv/bin/python
    [[ -x $own ]] || own=python
    python=${PYTHON:-$own}
    command -v "$python" >/dev/null || die "there is no Python at '$python': set PYTHON"
}

need_config() { # PATH
    [[ -f $1 ]] || die "there is no config file $1"
}

need_count() { # NAME VALUE [LEAST [MOST]]
    local range="of at least ${3:-1}"
    [[ -z ${4:-} ]] || range="from $3 to $4"
    [[ $2 =~ ^(0|[1-9][0-9]{0,8})$ && $2 -ge ${3:-1} && $2 -le ${4:-999999999} ]] ||
        die "$1 must be a whole number $range, and not '$2'"
}

torchrun() { # TOOL GPUS ARGUMENT...: starts GPUS processes of a tool here, as one of NNODES machines
    local tool=$1 gpus=$2 nodes=${NNODES:-1} rank=${NODE_RANK:-0} port=${PORT:-29500} address=${MASTER_ADDR:-}
    local backend=${RDZV_BACKEND:-static} meet
    shift 2
    need_count GPUS "$gpus"
    need_count NNODES "$nodes"
    need_count NODE_RANK "$rank" 0
    need_count PORT "$port" 1 65535
    ((rank < nodes)) || die "NODE_RANK counts the machines from 0: with NNODES=$nodes it cannot be $rank"
    [[ -n $address || $nodes == 1 ]] ||
        die "NNODES=$nodes needs MASTER_ADDR, the address of the first machine (127.0.0.1 if all are this one)"
    address=${address:-127.0.0.1}
    case $backend in
        static) meet=(--node-rank="$rank" --master-addr="$address" --master-port="$port") ;;
        c10d) # one machine hosts the meeting; which process gets which rank is settled there
            meet=(--rdzv-backend=c10d --rdzv-endpoint="$address:$port" --rdzv-id="${RDZV_ID:-inimg_mm}")
            meet+=(--rdzv-conf="is_host=$((rank == 0))")
            ;;
        *) die "RDZV_BACKEND is static or c10d, and not '$backend'" ;;
    esac
    # One machine and no port asked for: torchrun takes a free one, so that two jobs do not meet.
    [[ $nodes != 1 || -n ${PORT:-}${RDZV_BACKEND:-} ]] || meet=(--standalone)

    local began=$SECONDS child status stopped=''
    set -m # a process group of its own: Ctrl-C reaches the processes once, from here
    "$python" "$tools/_torchrun.py" --nnodes="$nodes" --nproc-per-node="$gpus" "${meet[@]}" \
        "$tools/$tool" "$@" --launcher pytorch &
    child=$!
    set +m
    trap 'stopped=1; kill -INT $child' INT
    trap 'stopped=1; kill -TERM $child' TERM HUP
    while status=0 && { wait "$child" || status=$?; } && kill -0 "$child" 2>/dev/null; do :; done
    if ((status)) && [[ -z $stopped ]]; then
        printf '%s: the job has ended with status %d after %d s. What failed first is named above' \
            "$script" "$status" "$((SECONDS - began))" >&2
        [[ $tool != train.py ]] || printf '; the same command with --resume goes on from the newest checkpoint' >&2
        printf '.\n' >&2
    fi
    exit "$status"
}

slurm() { # PARTITION JOB_NAME TOOL ARGUMENT...: starts GPUS tasks of a tool through srun
    local partition=$1 job=$2 tool=$3 gpus=${GPUS:-8} cpus=${CPUS_PER_TASK:-5} each extra
    shift 3
    need_count GPUS "$gpus"
    each=${GPUS_PER_NODE:-$((gpus < 8 ? gpus : 8))}
    need_count GPUS_PER_NODE "$each"
    need_count CPUS_PER_TASK "$cpus"
    command -v srun >/dev/null || die 'there is no srun here: run this on a login node of a Slurm cluster'
    read -ra extra <<<"${SRUN_ARGS:-}"
    exec srun --partition="$partition" --job-name="$job" --gres="gpu:$each" --ntasks="$gpus" \
        --ntasks-per-node="$each" --cpus-per-task="$cpus" --kill-on-bad-exit=1 ${extra[@]+"${extra[@]}"} \
        "$python" -u "$tools/$tool" "$@" --launcher slurm
}
