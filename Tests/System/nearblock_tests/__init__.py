"""The suites that drive whole programs, and what the benchmarks share with them: nodes, networks and guests."""
