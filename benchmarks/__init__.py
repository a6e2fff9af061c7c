"""What the library costs over the floor: the same work by raw commands, in one run, as ratios.

`python -m benchmarks` (or `make bench`) prints JSON on stdout and writes it to `bench-results/`.
"""
