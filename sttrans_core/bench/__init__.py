"""Benchmarks that anyone can run: `python -m sttrans_core bench`."""

from sttrans_core.bench.cases import SUBJECTS
from sttrans_core.bench.measure import run_benchmarks, slopes

__all__ = ["SUBJECTS", "run_benchmarks", "slopes"]
