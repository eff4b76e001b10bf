"""edgeseq: compile trained sequence models into tiny, dependency-free streaming libraries."""

__version__ = "0.1.0"
