"""`edgeseq bench kernels`: kernels beside their peers, and what they cost."""
