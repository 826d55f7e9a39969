"""Theorems 1 and 2 against direct solves and pseudo-inverses; wrong formulas must be caught."""

import json
from dataclasses import asdict, replace

import pytest
import torch

from elutheory.errors import InputError
from elutheory.fisher import UnitFisher
from elutheory.fisher import correction as module
from elutheory.fisher.theorem_checks import deviation_bound, layer_record
from tests.references.score_samples import FAN_IN, UNITS, changed, gradient_of_labels, random_scores, singular_scores


def test_bound_is_flat_then_grows_with_the_condition_number() -> None:
    assert deviation_bound(1.0) == deviation_bound(1e6) == 1e-8
    assert deviation_bound(3e9) == pytest.approx(3e-5)


def test_regular_layer_is_solved_directly() -> None:
    scores = random_scores()
    record = layer_record(scores, gradient_of_labels(scores), "2")
    F = UnitFisher.from_scores(scores)
    assert record.solutions == {"direct": UNITS}
    assert record.rank_smallest == record.rank_largest == record.coordinates == 7
    assert record.passed
    assert record.largest_deviation < 1e-12
    assert record.mean_under_p == pytest.approx(scores.incoming.mean().item())
    share = (scores.incoming.mean((0, 1, 2)) ** 2).sum() / (scores.incoming**2).sum(-1).mean()
    assert record.mean_share == pytest.approx(share.item())
    assert record.condition_number_largest == pytest.approx(torch.linalg.cond(F.matrix).max().item())
    step = torch.linalg.solve(F.matrix, gradient_of_labels(scores))
    cosine = torch.nn.functional.cosine_similarity(step, gradient_of_labels(scores))
    for unit, unit_record in enumerate(record.unit_records):
        assert unit_record.cosine == pytest.approx(cosine[unit].item())
        assert unit_record.mean_under_q == pytest.approx(F.mean_under_q[unit].mean().item())
    assert record.cosine == pytest.approx((cosine.sort().values[1:3].sum() / 2).item())  # the median of four
    with_zero_damping = layer_record(scores, gradient_of_labels(scores), "2", damping=0.0)
    assert with_zero_damping.unit_records == record.unit_records


def test_singular_layer_is_solved_on_its_range() -> None:
    scores = singular_scores()
    gradient = gradient_of_labels(scores)
    record = layer_record(scores, gradient, "1")
    assert record.solutions == {"on the range": UNITS}
    assert record.rank_smallest == record.rank_largest == 5
    assert (record.singular_units, record.unsolved_units, record.passed) == (UNITS, 0, True)
    assert record.largest_deviation < 1e-12
    F = UnitFisher.from_scores(scores)
    pseudo_inverse = torch.linalg.pinv(F.matrix, rtol=1e-10, hermitian=True)  # reference
    step = torch.einsum("uij,uj->ui", pseudo_inverse, gradient)
    cosine = torch.nn.functional.cosine_similarity(step, gradient)
    nonzero = torch.linalg.eigvalsh(F.matrix)[:, 2:]
    for unit, unit_record in enumerate(record.unit_records):
        shift = step[unit, 1:] @ F.mean_under_p + step[unit, 0]
        assert unit_record.shift_with == pytest.approx(shift.item(), rel=1e-9)
        assert unit_record.cosine == pytest.approx(cosine[unit].item(), rel=1e-9)
        assert unit_record.s_times_c == pytest.approx((pseudo_inverse[unit, 0, 0] * F.c[unit]).item(), rel=1e-9)
        assert unit_record.condition_number == pytest.approx((nonzero[unit, -1] / nonzero[unit, 0]).item(), rel=1e-9)


def test_damping_is_used_for_every_unit() -> None:
    scores = singular_scores()
    deltas = scores.deltas.clone()
    deltas[..., 3] = 0.0
    scores = changed(scores, deltas=deltas)
    gradient = gradient_of_labels(scores)
    record = layer_record(scores, gradient, "1", damping=0.01)
    assert record.solutions == {"damped": UNITS}
    assert record.passed
    dense = UnitFisher.from_scores(scores).matrix + 0.01 * torch.eye(FAN_IN + 1, dtype=torch.float64)
    step = torch.linalg.solve(dense, gradient)
    for unit, unit_record in enumerate(record.unit_records):
        shift = step[unit, 1:] @ scores.incoming.mean((0, 1, 2)) + step[unit, 0]
        assert unit_record.shift_with == pytest.approx(shift.item(), rel=1e-9)
        assert unit_record.condition_number == pytest.approx(torch.linalg.cond(dense[unit]).item())
    dead = record.unit_records[3]
    assert (dead.mean_under_q, dead.cosine, dead.s_times_c, dead.k, dead.shift_with) == (None, None, 1.0, 1.0, 0.0)


@pytest.mark.parametrize("damping", [0.0, 1e-13])
def test_too_little_damping_on_a_singular_layer_is_refused(damping: float) -> None:
    scores = singular_scores()
    with pytest.raises(InputError, match=r"is singular for 4 of 4 units .*rank 5 of 7.*give a larger damping"):
        layer_record(scores, gradient_of_labels(scores), "1", damping)


def test_units_to_which_theorem_1_does_not_apply_are_not_solved() -> None:
    scores = random_scores()
    deltas = scores.deltas.clone()
    deltas[..., 0] = 0.0  # dead
    deltas[:, 4:, :, 1] = 0.0  # four active examples for six activations: the bias is a combination of these
    scores = changed(scores, deltas=deltas)
    record = layer_record(scores, gradient_of_labels(scores), "1")
    assert record.solutions == {"direct": 2, "dead": 1, "bias dependent": 1}
    assert (record.singular_units, record.unsolved_units, record.rank_smallest) == (2, 2, 0)
    dead, dependent = record.unit_records[:2]
    assert (dead.rank, dependent.rank) == (0, 4)
    assert dead.condition_number is dead.mean_under_q is None
    assert dead.shift_with is dead.passed is dependent.shift_with is dependent.s_times_c is dependent.passed is None
    assert record.passed


def test_constant_incoming_activation_makes_the_bias_dependent() -> None:
    scores = random_scores()
    incoming = scores.incoming.clone()
    incoming[..., 2] = -1.0  # a saturated exponential linear unit
    record = layer_record(changed(scores, incoming=incoming), gradient_of_labels(scores), "1")
    assert record.solutions == {"bias dependent": UNITS}
    assert not record.passed  # nothing was compared
    assert record.k is record.shift_with is record.largest_deviation is record.share_of_bound is None
    json.dumps(asdict(record), allow_nan=False)


def test_incoming_activations_that_are_all_zero() -> None:
    scores = random_scores()
    scores = changed(scores, incoming=torch.zeros_like(scores.incoming))
    record = layer_record(scores, gradient_of_labels(scores), "1")
    assert (record.rank_largest, record.mean_share, record.s_times_c, record.k) == (1, None, 1.0, 1.0)
    assert record.passed
    for unit_record, g0, c in zip(
        record.unit_records,
        gradient_of_labels(scores)[:, 0],
        scores.squared_deltas().mean((0, 1)),
        strict=True,
    ):
        assert unit_record.shift_with == pytest.approx((g0 / c).item())


@pytest.mark.parametrize(
    ("formula", "caught_by"),
    [("bias_entry_of_inverse", "s_deviation"), ("multiplicative_correction", "shift_deviation")],
)
@pytest.mark.parametrize("make", [random_scores, singular_scores])
def test_a_wrong_formula_is_caught(monkeypatch: pytest.MonkeyPatch, formula: str, caught_by: str, make) -> None:
    right = getattr(module, formula)
    scores = make()
    assert layer_record(scores, gradient_of_labels(scores), "1").passed
    monkeypatch.setattr(module, formula, lambda *arguments: right(*arguments) * (1 + 1e-6))
    record = layer_record(scores, gradient_of_labels(scores), "1")
    assert not record.passed
    assert getattr(record, caught_by) > 1e-8
    assert record.share_of_bound > 1


def test_means_under_p_and_q_must_not_be_exchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    right = module.multiplicative_correction
    monkeypatch.setattr(module, "multiplicative_correction", lambda p, q, solved: right(q, p, solved))
    scores = random_scores()
    record = layer_record(scores, gradient_of_labels(scores), "1")
    assert not record.passed
    assert record.s_deviation < 1e-12 < 1e-3 < record.shift_deviation


def test_record_is_json() -> None:
    scores = singular_scores()
    text = json.dumps(asdict(layer_record(scores, gradient_of_labels(scores), "1")), allow_nan=False)
    assert json.loads(text)["unit_records"][2]["solution"] == "on the range"


def test_layers_without_bias_and_single_precision_are_refused() -> None:
    scores = random_scores()
    without_bias = replace(scores, has_bias=False)
    with pytest.raises(InputError, match="has no bias"):
        layer_record(without_bias, gradient_of_labels(scores), "1")
    single = changed(scores, incoming=scores.incoming.float(), deltas=scores.deltas.float())
    with pytest.raises(InputError, match=r"torch\.float32; deviations near 1e-8 need float64"):
        layer_record(single, gradient_of_labels(scores), "1")
