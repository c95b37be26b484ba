#!/usr/bin/env bash
# Train a config with one process a GPU, on this machine or on several; without GPUs, on CPUs over gloo.
#
#   tools/dist_train.sh CONFIG GPUS [ARGUMENT of tools/train.py]...
#
# GPUS is the number of processes on this machine. On several machines start the same command on each, with
#   NNODES=2              number of machines (default: 1)
#   NODE_RANK=0           which of them this is, from 0; on the first, process 0 writes logs and checkpoints
#   MASTER_ADDR=10.0.0.1  address of the first
#   PORT=29500            a free port of the first (default: 29500; on one machine, any that is free)
#   RDZV_BACKEND=c10d     meet through torchrun's rendezvous, which numbers the machines itself (default: static)
#   RDZV_ID=name          which job that is, if several meet at one address
# PYTHON=... is the Python to use (default: the project's .venv, else python).
source "$(dirname "${BASH_SOURCE[0]}")/_launch.sh"

begin 'CONFIG GPUS' "$@"
need_config "$1"
torchrun train.py "$2" "$1" "${@:3}"
