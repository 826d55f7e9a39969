"""The accumulation kernel against numpy's own sums, over block edges, and batched solves against LAPACK."""

import numpy as np
import pytest
import torch

from elutheory.fisher import outer_products
from elutheory.fisher.outer_products import add_outer_products, add_weighted_outer_products, chunks_of_units, mirror
from elutheory.fisher.solves import solve_damped_rows, solve_on_range, solve_positive_definite


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("units", [8, 9])
@pytest.mark.parametrize("points", [1, 511, 512, 513, 1300])
@pytest.mark.parametrize("coordinates", [1, 2, 31, 33, 70])
def test_weighted_sum(points: int, coordinates: int, units: int) -> None:
    weights, vectors = random(points, units).square(), random(points, coordinates, seed=1)
    start = random(units, coordinates, coordinates, seed=2)
    start = start + start.mT
    total = start.clone()
    add_weighted_outer_products(total, weights, vectors)
    mirror(total)
    weighted = np.einsum("nu,ni->uin", weights.numpy(), vectors.numpy())
    expected = start.numpy() + weighted @ vectors.numpy()
    np.testing.assert_allclose(total.numpy(), expected, rtol=1e-12, atol=1e-11)
    assert torch.equal(total, total.mT)


def test_more_coordinates_than_pairs_in_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outer_products, "_PAIRS", 32)
    weights, vectors = random(4, 9).square(), random(4, 70, seed=1)
    total = torch.zeros(9, 70, 70, dtype=torch.float64)
    add_weighted_outer_products(total, weights, vectors)
    mirror(total)
    expected = np.einsum("nu,ni,nj->uij", weights.numpy(), vectors.numpy(), vectors.numpy())
    np.testing.assert_allclose(total.numpy(), expected, rtol=1e-12, atol=1e-12)


def test_into_a_part_of_a_larger_tensor() -> None:
    whole = torch.zeros(4, 5, 5, dtype=torch.float64)
    scores = random(7, 2, 5)
    add_outer_products(whole[1:3], scores)
    add_weighted_outer_products(whole[3:], random(6, 1).square(), random(6, 5))
    np.testing.assert_allclose(whole[1:3].numpy(), np.einsum("mui,muj->uij", *[scores.numpy()] * 2), rtol=1e-12)
    assert not whole[0].any()
    assert whole[3].any()


def test_chunks_cover_all_units() -> None:
    total = torch.zeros(7, 10, 10, dtype=torch.float64)
    for most_bytes, sizes in ((1, [1] * 7), (1600, [2, 2, 2, 1]), (10**9, [7])):
        chunks = list(chunks_of_units(total, most_bytes))
        assert [chunk.stop - chunk.start for chunk in chunks] == sizes
        assert [chunk.start for chunk in chunks] == np.cumsum([0, *sizes[:-1]]).tolist()


def test_solves() -> None:
    rows, right = random(3, 20, 6), random(3, 6, seed=1)
    matrix = rows.mT @ rows
    np.testing.assert_allclose(
        solve_positive_definite(matrix, right).numpy(), np.linalg.solve(matrix, right[..., None])[..., 0], rtol=1e-10
    )
    few = rows[:, :4]
    damping = torch.tensor([0.1, 1.0, 10.0], dtype=torch.float64)
    damped = few.mT @ few + damping[:, None, None] * torch.eye(6, dtype=torch.float64)
    expected = np.linalg.solve(damped, right[..., None])[..., 0]
    np.testing.assert_allclose(solve_damped_rows(few, damping, right).numpy(), expected, rtol=1e-10)
    pseudo = np.linalg.pinv((few.mT @ few).numpy(), rcond=1e-10, hermitian=True) @ right.numpy()[..., None]
    np.testing.assert_allclose(solve_on_range(few.mT @ few, right, 1e-10).numpy(), pseudo[..., 0], rtol=1e-8)


def test_broken_factorisation_is_solved_on_its_range() -> None:
    # Singular to the last digit: Cholesky breaks down, the solution on the range solves the consistent system.
    direction = torch.tensor([[1.0, 1.0]], dtype=torch.float64)
    matrix = direction[:, :, None] * direction[:, None, :]
    torch.testing.assert_close(solve_positive_definite(matrix, 2 * direction), direction)
