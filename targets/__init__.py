"""Targets: one file each, found by listing this folder."""

if __name__ != "edgeseq.targets":
    raise ImportError(
        "import edgeseq.targets, not targets; run `pip install -e .` in this checkout first"
    )
