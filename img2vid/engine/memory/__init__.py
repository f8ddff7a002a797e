"""Memory: how much a model needs, where its parts are kept, and how they are moved."""
