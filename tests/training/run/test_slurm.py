"""The Slurm script, with srun and scontrol played by two small scripts: it starts torchrun, and requeues before the limit."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "recipes/slurm.sh"


@pytest.fixture
def cluster(tmp_path: Path) -> dict[str, str]:
    """An environment as sbatch leaves it, whose srun writes down what it should run and waits to be ended."""
    tools = tmp_path / "tools"
    tools.mkdir()
    srun = f'trap "echo saved >{tmp_path}/saved; exit 143" TERM; echo "$@" >{tmp_path}/started; sleep ${{STAY:-0}} & wait $!'
    scontrol = f'if [ "$1" = show ]; then printf "node7\\nnode8\\n"; else echo "$@" >{tmp_path}/requeued; fi'
    for name, body in (("srun", srun), ("scontrol", scontrol)):
        (tools / name).write_text(f"#!/usr/bin/env bash\n{body}\n")
        (tools / name).chmod(0o755)
    return {
        **os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "SLURM_JOB_ID": "11", "SLURM_JOB_NUM_NODES": "2",
        "SLURM_JOB_NODELIST": "node[7-8]", "SLURM_GPUS_ON_NODE": "4",
    }  # fmt: skip


def test_it_starts_one_torchrun_a_node_and_goes_on_where_a_run_is(tmp_path: Path, cluster: dict[str, str]) -> None:
    run = tmp_path / "run"
    for state in ("--config recipe.toml", "--resume"):
        subprocess.run(["bash", str(SCRIPT), "recipe.toml", str(run)], env=cluster, check=True, timeout=60)
        said = (tmp_path / "started").read_text()
        assert "torchrun --nnodes 2 --nproc-per-node 4 --rdzv-id 11" in said
        assert "--rdzv-endpoint node7:29500" in said
        assert said.strip().endswith(f"medsam train {state} -o {run}")
        run.mkdir(exist_ok=True)
        (run / "config.json").touch()


@pytest.mark.integration
def test_before_the_limit_the_run_saves_and_the_job_is_queued_again(tmp_path: Path, cluster: dict[str, str]) -> None:
    command = ["bash", str(SCRIPT), "recipe.toml", str(tmp_path / "run")]
    job = subprocess.Popen(command, env={**cluster, "STAY": "50"})
    end = time.monotonic() + 30
    while not (tmp_path / "started").exists() and time.monotonic() < end:
        time.sleep(0.05)
    time.sleep(0.3)
    job.send_signal(signal.SIGUSR1)
    job.wait(60)
    assert (tmp_path / "saved").read_text() == "saved\n"
    assert (tmp_path / "requeued").read_text() == "requeue 11\n"
