#!/usr/bin/env bash
# Test a checkpoint on a Slurm cluster, one task a GPU.
#
#   tools/slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT [ARGUMENT of tools/test.py]...
#
# GPUS, GPUS_PER_NODE, CPUS_PER_TASK, SRUN_ARGS, MASTER_PORT and PYTHON are read from the environment as by
# slurm_train.sh, whose --help describes them.
source "$(dirname "${BASH_SOURCE[0]}")/_launch.sh"

begin 'PARTITION JOB_NAME CONFIG CHECKPOINT' "$@"
need_config "$3"
slurm "$1" "$2" test.py "$3" "$4" "${@:5}"
