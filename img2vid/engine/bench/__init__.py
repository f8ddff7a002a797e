"""What the benchmark needs torch for: engines as subjects, the machine's rates, operations, peaks of memory."""
