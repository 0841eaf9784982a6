"""torchrun, started as a library: `python -m trainer.launch` reads the same PET_* variables and runs trainer.train.

Two things are gained over `python -m torch.distributed.run -m trainer.train`. A worker's exit code and the signal
that killed it come out as the exit code here, where torchrun would say 1 for all of them. And on a machine without
GPUs workers are forked from this process, which has imported torch already, so that a pod pays for that import once.
With GPUs they are started afresh as torchrun does, because CUDA does not survive a fork.
"""

import logging
import os
import sys
import uuid
from pathlib import Path
from typing import Any, Final

# The optimizer and the first checkpoint would import these, each taking as long as torch itself: here it is done
# once for all workers of the pod, and no checkpoint has to wait for it.
import torch._dynamo
import torch.distributed.checkpoint  # noqa: F401
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import elastic_launch
from torch.distributed.run import config_from_args, parse_args, run

from trainer.environment import Environment, read_environment
from trainer.errors import ExitCode, of_signal
from trainer.outcome import Outcome, record_outcome
from trainer.rendezvous import NameNotFoundError, wait_for_master
from trainer.train import main as train

_DEVICES: Final = Path("/dev")
_DEFAULT_PORT: Final = 29500


def main() -> int:
    """Run the workers of this pod to their end; returns the exit code of the one that failed first."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s launch %(levelname)s %(message)s")
    environment = read_environment()
    arguments = parse_args(["-m", "trainer.train"])
    try:
        wait_for_master(environment)  # here rather than in the agent: meanwhile torch was imported
        if any(_DEVICES.glob("nvidia[0-9]*")):
            run(arguments)
        else:
            _run_forked(arguments)
    except NameNotFoundError as error:
        return _not_started(environment, error)
    except ChildFailedError as error:
        _, failure = error.get_first_failure()
        return int(failure.exitcode) if failure.exitcode >= 0 else of_signal(-failure.exitcode)
    except SignalException as error:
        return of_signal(error.sigval)
    return ExitCode.OK


def _not_started(environment: Environment, error: NameNotFoundError) -> int:
    record_outcome(environment.run_directory, environment.local_rank, Outcome(error.exit_code, str(error)))
    return error.exit_code


def _run_forked(arguments: Any) -> None:
    """What torch.distributed.run.run does with these arguments, but for the way in which workers are started."""
    if arguments.rdzv_backend == "static" and not arguments.rdzv_endpoint:
        arguments.master_port = arguments.master_port or _DEFAULT_PORT
        if str(arguments.nnodes) == "1" and "PET_MASTER_ADDR" not in os.environ:
            # A pod alone needs no name and no fixed port: two of them may share a machine's network.
            arguments.rdzv_backend, arguments.rdzv_endpoint = "c10d", "localhost:0"
            arguments.rdzv_id = str(uuid.uuid4())
    config, _, _ = config_from_args(arguments)
    config.start_method = "fork"
    elastic_launch(config, train)()


if __name__ == "__main__":
    code = main()
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    # Taking down an interpreter with all of torch in it takes seconds, while the pod keeps its GPUs for nothing.
    os._exit(code)
