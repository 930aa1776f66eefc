#!/usr/bin/env bash
# A training run on Slurm: sbatch recipes/slurm.sh RECIPE RUN_FOLDER
# Two minutes before the time limit the run saves and ends; the job then queues itself again and goes on from there.
#SBATCH --job-name=medsam
#SBATCH --nodes=5
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=32
#SBATCH --time=24:00:00
#SBATCH --signal=B:USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail
recipe=$1 run=$2
processes=${PROCESSES_PER_NODE:-${SLURM_GPUS_ON_NODE:-1}}
nodes=$(scontrol show hostnames "$SLURM_JOB_NODELIST")
first=${nodes%%$'\n'*}  # `| head -n 1` would now and then end the script: SIGPIPE under pipefail
state=(--config "$recipe")
[ -f "$run/config.json" ] && state=(--resume)

again() {
    kill -TERM "$job"
    while kill -0 "$job" 2>/dev/null; do wait "$job" || true; done  # a wait inside a trap may end early
    scontrol requeue "$SLURM_JOB_ID"
}
trap again USR1

# newer versions of torchrun wait as long as they are told for processes that save; older ones kill them after 30 seconds
patience=()
[[ $(torchrun --help) == *--shutdown-timeout* ]] && patience=(--shutdown-timeout 110)

# medsam train gets SIGTERM through srun and torchrun, saves, and exits with 143.
srun --kill-on-bad-exit=1 torchrun --nnodes "$SLURM_JOB_NUM_NODES" --nproc-per-node "$processes" \
    --rdzv-id "$SLURM_JOB_ID" --rdzv-backend c10d --rdzv-endpoint "$first:${PORT:-29500}" \
    "${patience[@]}" --no-python medsam train "${state[@]}" -o "$run" &
job=$!
wait "$job"
