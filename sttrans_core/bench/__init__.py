"""Benchmarks that anyone can run: `python -m sttrans_core bench` and `efficiency`."""

from sttrans_core.bench.cases import SUBJECTS
from sttrans_core.bench.efficiency import efficiency_lines, measure_efficiency
from sttrans_core.bench.measure import run_benchmarks, slopes

__all__ = ["SUBJECTS", "efficiency_lines", "measure_efficiency", "run_benchmarks", "slopes"]
