"""Every recurrence takes [steps, batch, features]."""


def test_batch_first(check_pass):
    before = """g (float[2, T, 3] x, float[2, 1, 4] h) => (float[2, T, 1, 4] y, float[2, 1, 4] z)
    <float[1, 12, 3] w, float[1, 12, 4] r> {
        [cell] y, z = GRU <hidden_size = 4, layout = 1> (x, w, r, , , h)
    }"""
    after = """g (float[2,T,3] x, float[2,1,4] h) => ( y,  z)
    <float[1,12,4] r, float[1,12,3] w>
    {
        ["cell.Transpose"] "cell.Transpose.out" = Transpose <perm: ints = [1, 0, 2]> (x)
        ["cell.Transpose_1"] "cell.Transpose_1.out" = Transpose <perm: ints = [1, 0, 2]> (h)
        ["cell.steps"] "cell.steps.out", "cell.steps.out_1" = GRU <hidden_size: int = 4>
            ("cell.Transpose.out", w, r, "", "", "cell.Transpose_1.out")
        ["cell.Transpose_2"] y = Transpose <perm: ints = [2, 0, 1, 3]> ("cell.steps.out")
        ["cell.Transpose_3"] z = Transpose <perm: ints = [1, 0, 2]> ("cell.steps.out_1")
    }"""
    check_pass("recurrent-layout", before, after, tolerance=1e-06, runner="reference")
