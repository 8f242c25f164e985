"""Makes torch's threads wait for each other without spinning for long. Imported before torch, or it has no effect.

A network runs some thousand short parallel regions a second. After each, GNU OpenMP lets the threads that are done spin
for about a millisecond. Where another process wants the same cores, the spinning keeps the thread that has work from
running, and everything takes several times as long (``benchmarks/contention.py``). Whoever sets OMP_WAIT_POLICY or
GOMP_SPINCOUNT, or imports torch before PhotoGlue, keeps what they have.
"""

import os
import sys

SPINS = 20_000
"""Rounds, some tens of microseconds: longer than the threads of an idle machine mostly wait (1000: a third slower)."""


def _import_torch_with_short_spins() -> None:
    if "torch" in sys.modules or os.environ.keys() & {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"}:
        return
    os.environ["GOMP_SPINCOUNT"] = str(SPINS)
    try:
        import torch  # noqa: F401  (reads the variable while it is loaded)
    finally:
        del os.environ["GOMP_SPINCOUNT"]  # not for programs that are started from here


_import_torch_with_short_spins()
