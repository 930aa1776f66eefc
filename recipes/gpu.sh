#!/usr/bin/env bash
# A whole training of LiteMedSAM, and the speed of a ViT-B, in the minutes that a GPU is lent: recipes/gpu.sh PACK OUT SECONDS [SPEED]
#   PACK     made by: python recipes/pack_slices.py ../shared/data/slices out/pack.tgz
#   OUT      folder for the results: weights in parts of at most 15 MB, speed.json, the log and the numbers of every step
#   SECONDS  the training saves and ends when they are over
#   SPEED    0 leaves out the measurement of ViT-B (bf16 samples a second at batch 8, share of the peak)
# STEPS, BATCH, MICRO, WORKERS, DEVICE and SETS (a list of folders in PACK) change the size of the run; PATIENCE is how many
# seconds the last step and its checkpoint may take after that (60). A try on a CPU, where a step takes a minute:
#   STEPS=2 BATCH=1 MICRO=1 WORKERS=1 SAVE_EVERY=1 DEVICE=cpu PATIENCE=600 SETS="us_mixed" recipes/gpu.sh out/pack.tgz out/try 600 0
# Weights in OUT are renewed at every checkpoint, so that a run that is cut off leaves the last of them:
#   cat OUT/weights.part-* > weights.safetensors; sha256sum -c OUT/weights.sha256
set -euo pipefail
pack=$1 out=$2 seconds=$3 speed=${4:-1}
here=$(cd "$(dirname "$0")/.." && pwd)
export PYTHONPATH=$here/src${PYTHONPATH:+:$PYTHONPATH}
work=$(mktemp -d)
run=
trap '[ -z "$run" ] || kill "$run" 2>/dev/null || true; rm -rf "$work"' EXIT
mkdir -p "$out"
tar -xzf "$pack" -C "$work"
medsam() { python -c 'from medsam.cli.app import main; main()' "$@"; }

if [ "$speed" != 0 ]; then
    python - "$here/benchmarks" > "$out/speed.json" <<'PYTHON' || echo "the speed could not be measured" >&2
import json, subprocess, sys
sys.path.insert(0, sys.argv[1])
import torch
from train_step import on_gpus
command = [sys.executable, f"{sys.argv[1]}/train_step.py", "--side", "ours", "1024", "8", "6", "cuda"]
step = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout.splitlines()[-1])
found = on_gpus(step["seconds"], 1024, 8, torch.cuda.get_device_name())
print(json.dumps({**step, "bf16_samples_per_second": round(8 / step["seconds"], 2), **found}, indent=1))
PYTHON
fi

sets=${SETS:-$(cd "$work" && ls -d */ | tr -d /)}
{
    printf 'data = [%s]\n' "$(printf "\"$work/%s\", " $sets)"
    printf 'base = "%s"\nsteps = %d\nglobal_batch = %d\nmicro_batch = %d\nworkers = %d\nsave_every = %d\n' \
        "$work/base.safetensors" "${STEPS:-1500}" "${BATCH:-64}" "${MICRO:-64}" "${WORKERS:-14}" "${SAVE_EVERY:-100}"
    cat "$here/recipes/gpu.toml"
} > "$work/recipe.toml"

keep() { # the weights of the last checkpoint, in parts, beside what says how they came about
    local last
    # checkpoints come before model.safetensors in the alphabet; before the first one there is nothing to find
    last=$(find "$work/run" -name model.safetensors -o -path '*/step-*/weights.safetensors' 2>/dev/null | sort | tail -n 1) || true
    [ -n "$last" ] && [ "$last" != "${kept:-}" ] || return 0
    medsam models convert "$last" "$work/half.safetensors" --half --overwrite > /dev/null || return 0
    rm -f "$out"/weights.part-*
    split -b 15000000 "$work/half.safetensors" "$out/weights.part-"
    (cd "$work" && sha256sum half.safetensors | sed 's/half/weights/') > "$out/weights.sha256"
    cp "$work/run/metrics.jsonl" "$work/run/config.json" "$out/"
    kept=$last
}

# at the end of its time the run gets SIGTERM, saves a checkpoint and exits with 143
timeout --signal TERM --kill-after "${PATIENCE:-60}" "$seconds" python -c 'from medsam.cli.app import main; main()' \
    train --config "$work/recipe.toml" -o "$work/run" ${DEVICE:+--device "$DEVICE"} > "$out/train.log" 2>&1 &
run=$!
while kill -0 "$run" 2>/dev/null; do
    sleep "${KEEP_EVERY:-20}"
    keep
done
code=0
wait "$run" || code=$?
keep
case $code in 0 | 124 | 143) ;; *) tail -n 5 "$out/train.log" >&2; exit "$code" ;; esac
ls -l "$out"
