"""Memory planning: accounting of a model's needs, memory plans and offloading of weights."""
