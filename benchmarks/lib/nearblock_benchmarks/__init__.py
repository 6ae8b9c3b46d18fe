"""What the benchmarks measure with: modules that benchmarks/* run, and what these share."""
