#!/usr/bin/env bash
# Train a config on a Slurm cluster, one task a GPU.
#
#   tools/slurm_train.sh PARTITION JOB_NAME CONFIG WORK_DIR [ARGUMENT of tools/train.py]...
#
#   GPUS=8             of all machines together (default: 8)
#   GPUS_PER_NODE=8    (default: 8, or GPUS if that is less)
#   CPUS_PER_TASK=5    (default: 5)
#   SRUN_ARGS='...'    further arguments of srun, parted by spaces; --gres=none for machines without GPUs
#   MASTER_PORT=29500  where the tasks meet (default: a port of the job's number)
# PYTHON=... is the Python to use (default: the project's .venv, else python).
source "$(dirname "${BASH_SOURCE[0]}")/_launch.sh"

begin 'PARTITION JOB_NAME CONFIG WORK_DIR' "$@"
need_config "$3"
slurm "$1" "$2" train.py "$3" --work-dir "$4" "${@:5}"
