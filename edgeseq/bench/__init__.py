"""One harness for both sides: interleaved rounds, states fed back, outputs compared afterwards."""

from edgeseq.bench.compare import Report, bench_model
from edgeseq.bench.overhead import bench_overhead, write_adder

__all__ = ["Report", "bench_model", "bench_overhead", "write_adder"]
