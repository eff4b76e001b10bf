"""Graph passes: one file each, found by listing this folder."""

if __name__ != "edgeseq.passes":
    raise ImportError(
        "import edgeseq.passes, not passes; run `pip install -e .` in this checkout first"
    )
