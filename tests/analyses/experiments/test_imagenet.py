"""The 15-layer network on small images: statistics against theory, its training step, files of any shape, verdicts."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas
import pytest
import torch
from PIL import Image
from torch import nn

from analyses.data.resized_images import resized_images
from analyses.experiments import imagenet
from analyses.experiments.imagenet.measurement import (
    Cell,
    built,
    cells,
    cost,
    crops_of,
    images_of,
    measure_cell,
    optimizer,
)
from analyses.experiments.imagenet.settings import COLUMNS, PRESETS, Config
from analyses.experiments.imagenet.verdicts import decisions, log_ratios, summary
from analyses.networks.architectures import IMAGENET_STACKS, imagenet_15, initialise
from analyses.networks.layer_means import hidden_layers, layer_moments
from analyses.networks.step_times import step_seconds
from elutheory.activations import activation
from elutheory.errors import InputError

SMALL = dataclasses.replace(PRESETS["quick"], width=0.02, repetitions=2, seeds=1, side=24, crop=20)


def folder_of_images(folder: Path) -> Path:
    """Six images of different sizes, in a subfolder or not, coloured, gray and with a palette."""
    generator = np.random.default_rng(0)
    (folder / "class").mkdir(parents=True)
    for number, (name, shape) in enumerate(
        [("a.png", (9, 7, 3)), ("class/b.jpg", (30, 20, 3)), ("c.bmp", (5, 5, 3)), ("class/d.png", (8, 40))]
    ):
        pixels = generator.integers(0, 256, shape, np.uint8)
        Image.fromarray(pixels).save(folder / name)
        if number == 0:
            Image.fromarray(pixels).quantize(8).save(folder / "class" / "palette.png")
    Image.fromarray(generator.integers(0, 256, (16, 16, 3), np.uint8)).save(folder / "z.webp")
    (folder / ".hidden.png").write_bytes(b"no image")
    (folder / "notes.txt").write_text("no image")
    return folder


# --- images ---------------------------------------------------------------------------------------------------------


def test_images_of_any_shape_become_squares(tmp_path: Path) -> None:
    folder = folder_of_images(tmp_path / "images")
    found = resized_images(folder, 6, 12)
    assert found.shape == (6, 3, 12, 12)
    assert found.dtype == np.uint8
    names = sorted(path for path in folder.rglob("*.*") if path.suffix in (".png", ".jpg", ".bmp", ".webp"))
    for path, image in zip([path for path in names if not path.name.startswith(".")], found, strict=True):
        with Image.open(path) as original:
            expected = np.asarray(original.convert("RGB").resize((12, 12), Image.Resampling.BILINEAR))
        np.testing.assert_array_equal(image, expected.transpose(2, 0, 1))
    np.testing.assert_array_equal(resized_images(folder, 3, 12), found[::2])


def test_bad_folders_are_refused(tmp_path: Path) -> None:
    folder = folder_of_images(tmp_path / "images")
    with pytest.raises(InputError, match=r"holds 6 image files .*; 7 are needed"):
        resized_images(folder, 7, 12)
    (folder / "broken.png").write_bytes(b"\x89PNG broken")
    with pytest.raises(InputError, match=r"broken\.png cannot be decoded"):
        resized_images(folder, 7, 12)
    for data in ("nowhere", str(folder / "a.png")):
        with pytest.raises(InputError, match="is no folder"):
            images_of(dataclasses.replace(SMALL, data=data))
    same = tmp_path / "same"
    same.mkdir()
    for name in ("a.png", "b.png"):
        Image.new("RGB", (5, 5), (10, 20, 30)).save(same / name)
    with pytest.raises(InputError, match="all images of same are the same"):
        images_of(dataclasses.replace(SMALL, data=str(same), images=2))


def test_images_have_no_mean_pixel_by_pixel(tmp_path: Path) -> None:
    config = dataclasses.replace(SMALL, data=str(folder_of_images(tmp_path / "images")), images=6)
    name, images = images_of(config)
    assert name == "images"
    np.testing.assert_allclose(images.mean(0), np.zeros((3, 24, 24)), atol=1e-6)
    assert float(images.std()) == pytest.approx(1, rel=1e-5)
    crops = crops_of(config, images, 3)
    assert crops.shape == (6, 3, 20, 20)
    for image, crop in zip(images, crops, strict=True):
        parts = [image[:, row : row + 20, column : column + 20] for row in range(5) for column in range(5)]
        assert any(torch.equal(crop, part) or torch.equal(crop, part.flip(2)) for part in parts)
    assert not torch.equal(crops, crops_of(config, images, 4))


# --- the network ----------------------------------------------------------------------------------------------------


def test_units_are_scaled_and_the_papers_at_width_one() -> None:
    with torch.device("meta"):
        whole, eighth = imagenet_15("elu"), imagenet_15("elu", width=0.125, classes=7)
    hidden = [units for stack in IMAGENET_STACKS for count, units, _ in stack for _ in range(count)] + [4096, 4096]
    for network, factor, classes in ((whole, 1, 1000), (eighth, 8, 7)):
        layers = [module for module in network if isinstance(module, nn.Conv2d | nn.Linear)]
        assert [layer.weight.shape[0] for layer in layers] == [*(units // factor for units in hidden), classes]
        assert layers[12].weight.shape[1] == 21 * 1024 // factor


def test_moments_of_layers_by_hooks() -> None:
    """Means and second moments of all 14 hidden layers, in batches; convolutions and linear layers."""
    network = initialise(built(SMALL, "elu"), 0).eval()
    crops = crops_of(SMALL, images_of(SMALL)[1], 0)
    found = layer_moments(network, crops.split(2), activation("elu"))
    seen: list[torch.Tensor] = []
    for module in network:
        if isinstance(module, nn.ELU):
            module.register_forward_hook(lambda _, __, outputs: seen.append(outputs.detach()))
    network(crops)
    assert [layer.convolutional for layer in found] == [True] * 12 + [False] * 2
    for layer, values in zip(found, seen, strict=True):
        assert layer.mean.measured == pytest.approx(float(values.mean()), rel=1e-4, abs=1e-6)
        assert layer.second_moment.measured == pytest.approx(float(values.square().mean()), rel=1e-4)


@pytest.mark.parametrize("name", ["elu", "relu"])
def test_every_layers_moments_are_m3s_over_weights_drawn_again(name: str) -> None:
    """What a layer receives is kept, its weights are drawn anew: mean over 200 draws of layers 2, 6 and the first
    linear one, within 4 standard errors; for ReLU E f(√v Z)² = v/2."""
    network = initialise(built(SMALL, name), 0)
    crops = crops_of(SMALL, images_of(SMALL)[1], 0)
    said = layer_moments(network, [crops], activation(name))
    function = activation(name).torch_module()
    for number in (1, 5, 12):
        layer = list(hidden_layers(network, crops))[number]
        received, values = layer.inputs.detach(), []
        generator = torch.Generator().manual_seed(number)
        for _ in range(200):
            weight = torch.randn(layer.layer.weight.shape, generator=generator)
            weight *= (2 / weight[0].numel()) ** 0.5
            net = (
                nn.functional.linear(received, weight)
                if isinstance(layer.layer, nn.Linear)
                else nn.functional.conv2d(received, weight, padding=layer.layer.padding)
            )
            outputs = function(net)
            values.append([float(outputs.mean()), float(outputs.square().mean())])
        errors = np.std(values, 0) / 200**0.5
        expected = [said[number].mean.predicted, said[number].second_moment.predicted]
        assert (np.abs(np.mean(values, 0) - expected) < 4 * errors).all()
        if name == "relu":
            assert expected[1] == pytest.approx(float(layer.net_input_variances(2.0).mean().detach()) / 2, rel=1e-6)


def test_the_step_that_is_timed_trains_the_network() -> None:
    """As gradient, momentum and decay written out by hand do; dropout off."""
    config = dataclasses.replace(SMALL, learning_rate=0.01)
    first, second = (initialise(built(config, "elu"), 1) for _ in range(2))
    for network in (first, second):
        for module in network:
            if isinstance(module, nn.Dropout):
                module.p = 0.0
    inputs, targets = crops_of(config, images_of(config)[1], 0), torch.tensor([0, 1, 2, 3])
    step_seconds(first, optimizer(config, first), inputs, targets)(3)
    momenta = [torch.zeros_like(parameter) for parameter in second.parameters()]
    for _ in range(3):
        parameters = list(second.parameters())
        loss = nn.functional.cross_entropy(second(inputs), targets)
        for parameter, momentum, gradient in zip(
            parameters, momenta, torch.autograd.grad(loss, parameters), strict=True
        ):
            momentum.mul_(0.9).add_(gradient + 0.0005 * parameter.detach())
            parameter.data.sub_(0.01 * momentum)
    for left, right in zip(first.parameters(), second.parameters(), strict=True):
        torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-6)


def test_memory_and_time_are_estimated_of_the_network_itself() -> None:
    """Three copies of 1.4e8 weights for each of two networks and more; 3.2e11 operations forward an image."""
    whole = cost(Config())
    with torch.device("meta"):
        weights = sum(parameter.numel() for parameter in imagenet_15("elu").parameters())
    assert 2 * 3 * 4 * weights < whole.bytes < 30 * 4 * weights
    forward = whole.operations / (2 * (12 + 2) * 4 * 3 + 10 * 2 * 64)
    assert 2.5e11 < forward < 4.5e11
    smaller = cost(dataclasses.replace(Config(), width=0.5))
    assert smaller.bytes < 0.6 * whole.bytes
    assert smaller.operations < 0.35 * whole.operations


# --- table and verdict ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def table() -> pandas.DataFrame:
    return imagenet.measure(SMALL)


def test_table_has_a_row_a_layer_and_a_turn(table: pandas.DataFrame) -> None:
    assert table.columns.tolist() == list(COLUMNS)
    counts = table.groupby(["activation", "quantity"]).size().to_dict()
    for name in ("elu", "relu"):
        assert [counts[name, quantity] for quantity in ("mean", "second_moment", "seconds")] == [14, 14, 2]
    assert table["value"].notna().all()
    assert (table.loc[table["quantity"] == "seconds", "value"] > 0).all()
    assert "ELU over ReLU: " in summary(table)
    assert len(imagenet.draw(table).axes) == 3
    again = measure_cell(SMALL, Cell(0), "cpu")
    pandas.testing.assert_frame_equal(again, table.iloc[: len(again)], check_exact=True, check_dtype=False)


@pytest.mark.parametrize("change", [{"crop": 25}, {"width": 0.0}, {"images": 1}, {"activations": ("nothing",)}])
def test_bad_options_are_refused(change: dict) -> None:
    with pytest.raises(InputError):
        cells(dataclasses.replace(SMALL, **change))


@pytest.mark.parametrize(("ratio", "verdict"), [(1.058, "holds"), (0.9, "holds"), (1.2, "does not hold")])
def test_ten_per_cent_are_granted(ratio: float, verdict: str) -> None:
    rows = [
        {"activation": name, "quantity": "seconds", "seed": turn, "value": (1 + 0.3 * turn) * size * (1 + 1e-3 * turn)}
        for turn in range(12)
        for name, size in (("elu", ratio), ("relu", 1.0))
    ]
    planted = pandas.DataFrame(rows)
    np.testing.assert_allclose(log_ratios(planted), np.log(ratio))
    (decision,) = decisions(planted)
    assert decision.verdict == verdict
    assert decisions(planted[planted["activation"] == "elu"]) == []
