"""The slope of a PRelu has the smallest shape."""


def test_one_number(check_pass):
    before = """g (float[1, 2, 3] x) => (float[1, 2, 3] y) <float[2, 1] slope = {0.25, 0.25}> {
        [act] y = PRelu (x, slope)
    }"""
    after = """g (float[1,2,3] x) => ( y)
    <float[1] "act.slope">
    {
        [act] y = PRelu (x, "act.slope")
    }"""
    check_pass("normalize-prelu", before, after, tolerance=0)


def test_one_number_for_each_channel(check_pass):
    before = """g (float[1, 2, 3] x) => (float[1, 2, 3] y)
    <float[1, 2, 3] slope = {0.1, 0.1, 0.1, 0.2, 0.2, 0.2}> {
        [act] y = PRelu (x, slope)
    }"""
    after = """g (float[1,2,3] x) => ( y)
    <float[2,1] "act.slope">
    {
        [act] y = PRelu (x, "act.slope")
    }"""
    check_pass("normalize-prelu", before, after, tolerance=0)


def test_refuses_slopes_that_are_inputs(apply_pass):
    outcome = apply_pass(
        "normalize-prelu",
        """g (float[1, 2, 3] x, float[2, 1] slope) => (float[1, 2, 3] y) {
        [act] y = PRelu (x, slope)
    }""",
    )
    assert not outcome.record.modified
    assert outcome.refusals == ["node 'act' (PRelu): its slopes are not constants"]
