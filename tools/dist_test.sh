#!/usr/bin/env bash
# Test a checkpoint with one process a GPU, on this machine or on several; without GPUs, on CPUs over gloo.
#
#   tools/dist_test.sh CONFIG CHECKPOINT GPUS [ARGUMENT of tools/test.py]...
#
# GPUS is the number of processes on this machine. NNODES, NODE_RANK, MASTER_ADDR, PORT, RDZV_BACKEND, RDZV_ID and
# PYTHON are read from the environment as by dist_train.sh, whose --help describes them.
source "$(dirname "${BASH_SOURCE[0]}")/_launch.sh"

begin 'CONFIG CHECKPOINT GPUS' "$@"
need_config "$1"
torchrun test.py "$3" "$1" "$2" "${@:4}"
