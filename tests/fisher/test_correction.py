"""Theorems 1 and 2 against dense inverses."""

from dataclasses import replace

import pytest
import torch

from elutheory.errors import InputError
from elutheory.fisher import LayerScores, UnitFisher, bias_shift_correction
from elutheory.fisher.correction import damped_for_every_unit, uncoupled_natural_gradient
from tests.references.score_samples import FAN_IN, UNITS, changed, random_gradient, random_scores, singular_scores


@pytest.mark.parametrize("damping", [0.0, 0.05])
@pytest.mark.parametrize("seed", range(5))
def test_theorems_agree_with_the_dense_inverse(seed: int, damping: float) -> None:
    F, gradient = UnitFisher.from_scores(random_scores(seed)), random_gradient(seed)
    correction = bias_shift_correction(F, gradient, damping)
    inverse = torch.linalg.inv(F.matrix + damping * torch.eye(FAN_IN + 1, dtype=torch.float64))  # reference
    step = torch.einsum("uij,uj->ui", inverse, gradient)
    torch.testing.assert_close(correction.s, inverse[:, 0, 0], rtol=1e-10, atol=0)
    torch.testing.assert_close(correction.delta_w0, step[:, 0], rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(correction.delta_w, step[:, 1:], rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(correction.shift_with, step[:, 1:] @ F.mean_under_p + step[:, 0], rtol=1e-9, atol=1e-11)
    # B2: the coupling b struck out of the matrix, and inverted densely.
    uncoupled = (F.matrix + damping * torch.eye(FAN_IN + 1, dtype=torch.float64)).clone()
    uncoupled[:, 0, 1:] = uncoupled[:, 1:, 0] = 0.0
    step = torch.linalg.solve(uncoupled, gradient)
    shift = step[:, 1:] @ F.mean_under_p + step[:, 0]
    torch.testing.assert_close(correction.shift_without, shift, rtol=1e-9, atol=1e-11)
    assert (correction.k - 1).abs().max() > 0.1  # the correction is not idle here


@pytest.mark.parametrize("positions", [1, 3])
@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_factors_give_what_the_matrices_give(positions: int, relative: bool, offset: float) -> None:
    generator = torch.Generator().manual_seed(3)
    incoming = offset + 0.7 + torch.randn(5, 2, positions, 30, generator=generator, dtype=torch.float64)
    deltas = torch.randn(3, 5, positions, 4, generator=generator, dtype=torch.float64)
    deltas[..., 2] *= 0.0 if not relative else 1.0  # a dead unit
    F = UnitFisher.from_scores(LayerScores(incoming, deltas))
    assert F.form == "factors"
    gradient = torch.randn(4, 31, generator=generator, dtype=torch.float64)
    correction = bias_shift_correction(F, gradient, 0.05, relative=relative)
    damping = 0.05 * (F.matrix.diagonal(dim1=1, dim2=2).mean(1) if relative else torch.ones(4, dtype=torch.float64))
    dense = F.matrix + damping[:, None, None] * torch.eye(31, dtype=torch.float64)
    inverse = torch.linalg.inv(dense)  # reference
    step = torch.einsum("uij,uj->ui", inverse, gradient)
    rounding = 100 * torch.finfo(torch.float64).eps * torch.linalg.cond(dense).max().item()
    assert rounding < 1e-5
    tolerance = {"rtol": rounding, "atol": rounding}
    torch.testing.assert_close(correction.s, inverse[:, 0, 0], **tolerance)
    torch.testing.assert_close(correction.delta_w0, step[:, 0], **tolerance)
    torch.testing.assert_close(correction.delta_w, step[:, 1:], **tolerance)
    m_p = incoming.mean((0, 2)).repeat_interleave(2, 0)
    torch.testing.assert_close(correction.shift_with, (step[:, 1:] * m_p).sum(1) + step[:, 0], **tolerance)
    dense[:, 0, 1:] = dense[:, 1:, 0] = 0.0
    step = torch.linalg.solve(dense, gradient)
    torch.testing.assert_close(correction.shift_without, (step[:, 1:] * m_p).sum(1) + step[:, 0], **tolerance)
    matrices = F.damped(0.05, relative=relative)
    m_q = matrices.coupling_ratio
    solved = torch.linalg.solve(matrices.complement_of(slice(None)), m_q)
    torch.testing.assert_close(correction.k, 1 + ((m_q - m_p) * solved).sum(1), **tolerance)


@pytest.mark.parametrize("examples", [5, 40])
def test_dead_units_change_nothing_for_the_others(examples: int) -> None:
    # Units whose deltas differ by up to 1e6, so whose dampings differ by up to 1e12; the dead one is damped least.
    generator = torch.Generator().manual_seed(0)
    incoming = 0.7 + torch.randn(examples, 1, 1, 12, generator=generator, dtype=torch.float64)
    deltas = torch.randn(3, examples, 1, 8, generator=generator, dtype=torch.float64)
    deltas *= torch.logspace(0, -6, 8, dtype=torch.float64)
    gradient = torch.randn(8, 13, generator=generator, dtype=torch.float64)
    alone = bias_shift_correction(UnitFisher.from_scores(LayerScores(incoming, deltas)), gradient, 1e-2, relative=True)
    dead = deltas.clone()
    dead[..., 2] = 0.0
    damped = damped_for_every_unit(UnitFisher.from_scores(LayerScores(incoming, dead)), 1e-2)
    assert damped.form == ("factors" if examples == 5 else "matrix")
    found, others = bias_shift_correction(damped, gradient), [0, 1, 3, 4, 5, 6, 7]
    for name, value in vars(found).items():
        torch.testing.assert_close(value[others], getattr(alone, name)[others], rtol=1e-11, atol=0, msg=name)
        assert value[2].isfinite().all()


@pytest.mark.parametrize(("examples", "damping"), [(5, 0.05), (40, 0.05), (40, 0.0)])
def test_natural_gradient_without_the_coupling(examples: int, damping: float) -> None:
    F, gradient = UnitFisher.from_scores(random_scores(examples=examples)).damped(damping), random_gradient()
    uncoupled = F.matrix.clone()
    uncoupled[:, 0, 1:] = uncoupled[:, 1:, 0] = 0.0
    expected = torch.linalg.solve(uncoupled, gradient)  # reference: the coupling struck out, solved densely
    torch.testing.assert_close(uncoupled_natural_gradient(F, gradient), expected, rtol=1e-9, atol=1e-11)


def test_zero_mean_under_q_means_no_correction() -> None:
    scores = random_scores()
    for unit in range(UNITS):
        alone = scores.unit(unit)
        centred = changed(alone, incoming=alone.incoming - UnitFisher.from_scores(alone).mean_under_q[0])
        F = UnitFisher.from_scores(centred)
        correction = bias_shift_correction(F, random_gradient()[unit, None])
        torch.testing.assert_close(correction.k, torch.ones_like(correction.k), rtol=1e-12, atol=0)
        torch.testing.assert_close(correction.s, 1 / F.c, rtol=1e-12, atol=0)
        torch.testing.assert_close(correction.shift_with, correction.shift_without, rtol=1e-10, atol=1e-12)
        assert F.mean_under_p.abs().max() > 1e-3


def test_refusals() -> None:
    F = UnitFisher.from_scores(random_scores())
    with pytest.raises(InputError, match=r"the gradient has shape \(4, 6\); \(4, 7\)"):
        bias_shift_correction(F, random_gradient()[:, 1:])
    with pytest.raises(InputError, match=r"damping is -0\.1"):
        bias_shift_correction(F, random_gradient(), -0.1)
    with pytest.raises(InputError, match="singular for 4 of 4 units"):
        bias_shift_correction(UnitFisher.from_scores(singular_scores()), random_gradient())
    scores = random_scores()
    without_bias = replace(scores, has_bias=False)
    with pytest.raises(InputError, match="has no bias"):
        bias_shift_correction(UnitFisher.from_scores(without_bias), random_gradient()[:, 1:])
