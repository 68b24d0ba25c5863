"""Start a program that ends when its parent ends, even when the parent is killed with -9.

``python leash.py PARENT_PID PROGRAM [ARGUMENT…]`` asks the kernel for SIGTERM at the parent's death
(the setting survives ``exec``) and becomes the program. SIGTERM rather than SIGKILL, so that an
NGINX master takes its workers with it. To the kernel the parent is the thread that started the
child, so that must be one that lives as long as the child shall. Run as a file with ``python -S -E``: nothing else is
imported, a start takes some 20 ms. Linux only.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Tie this process to its parent and become the program."""
    parent, program = int(sys.argv[1]), sys.argv[2:]
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:  # it died before we asked
        sys.exit(1)
    os.execvp(program[0], program)  # noqa: S606  (our own command line, no shell)


if __name__ == "__main__":
    main()
