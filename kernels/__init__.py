"""Hand-written kernels: one family per file, found by listing this folder."""

if __name__ != "edgeseq.kernels":
    raise ImportError(
        "import edgeseq.kernels, not kernels; run `pip install -e .` in this checkout first"
    )
