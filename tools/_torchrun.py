"""torchrun, for dist_train.sh and dist_test.sh: a signal ends it with its status, without a traceback."""

import logging
import sys

from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import main

if __name__ == '__main__':
    # It says of each process that it passes the signal on; the first process says what that means.
    for name in ('agent.server.api', 'multiprocessing.api'):
        logging.getLogger(f'torch.distributed.elastic.{name}').setLevel(logging.ERROR)
    try:
        main()
    except SignalException as stop:
        sys.exit(128 + stop.sigval)
    except ChildFailedError as failure:
        print(failure, file=sys.stderr)
        sys.exit(1)
