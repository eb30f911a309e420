import numpy as np
import scipy.sparse

from parametric_head.surface import solve_symmetric


def test_a_symmetric_system_is_solved_for_one_column_and_for_several():
    random = np.random.default_rng(0)
    links = scipy.sparse.random(80, 80, 0.05, random_state=0)
    # Of very different weights, as those of the mesh are.
    system = links.T @ links + scipy.sparse.diags(10.0 ** random.uniform(-4, 1, 80))
    for shape in ((80,), (80, 3)):
        right = random.normal(size=shape)
        np.testing.assert_allclose(
            solve_symmetric(system, right), np.linalg.solve(system.toarray(), right), rtol=1e-9
        )
