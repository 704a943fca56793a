#!/usr/bin/env bash
# A cluster of Ray within a job of Slurm, which indexes a folder. Submit it again to go on where it was.
#
#   sbatch slurm.sh /shared/loras /shared/library.db
#
#SBATCH --job-name=lorascope
#SBATCH --nodes=8
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=32
#SBATCH --time=24:00:00
#SBATCH --signal=B:TERM@120
set -euo pipefail

loras=${1:?the folder of adapters, on a disk that all nodes share}
library=${2:?the library, on a disk that SQLite may lock: not NFS}
port=${RAY_PORT:-6379}
export RAY_USAGE_STATS_ENABLED=0 HF_HUB_OFFLINE=1

head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
address="$head:$port"

# The first node has the head and the driver, and measures too.
srun --nodes=1 --ntasks=1 --nodelist="$head" --overlap \
  ray start --head --port="$port" --num-gpus="$SLURM_GPUS_ON_NODE" --include-dashboard=false --block &
sleep 20
if ((SLURM_JOB_NUM_NODES > 1)); then
  srun --nodes=$((SLURM_JOB_NUM_NODES - 1)) --ntasks=$((SLURM_JOB_NUM_NODES - 1)) --exclude="$head" --overlap \
    ray start --address="$address" --num-gpus="$SLURM_GPUS_ON_NODE" --block &
fi

# Two minutes before the time is over Slurm sends SIGTERM: the run ends between two blocks, and keeps all of them.
srun --nodes=1 --ntasks=1 --nodelist="$head" --overlap \
  lorascope index "$loras" --ray "$address" --library "$library" --precision standard &
driver=$!
trap 'kill -TERM "$driver"' TERM
wait "$driver"
