"""Every analysis as small as it can be and still be what it is."""

from typing import Any

SMALL: dict[str, dict[str, Any]] = {
    "activation_curves": {"points": 5},
    "autoencoder": {"activations": ("elu", "relu"), "encoder": (4, 2), "epochs": 2, "examples": 40, "seeds": 1},
    "bias_shift_in_training": {
        **{"activations": ("elu", "relu"), "layers": 2, "units": 4, "updates": 8, "points": 2, "window": 3},
        **{"examples": 30, "fisher_examples": 20, "seeds": 1},
    },
    "bias_shift_term": {
        **{"activations": ("elu", "relu"), "layers": 2, "units": 4, "epochs": 1, "examples": 40},
        **{"dampings": (0.0,), "seeds": 1},
    },
    "causal_claim": {
        **{"examples": 60, "layers": 2, "units": 4, "updates": 3, "learning_rates": (0.1, 0.2, 0.4)},
        **{"natural_learning_rates": (0.01, 0.02, 0.04), "widenings": 0, "tuning_seeds": 1, "seeds": 1},
    },
    "cifar": {
        **{"examples": 40, "width": 0.01, "activations": ("elu", "relu"), "epochs": 1, "batch_size": 20},
        **{"measured": 10, "seeds": 1},
    },
    "deactivation": {
        **{"activations": ("elu", "leaky_relu"), "negative_slopes": (0.1,), "largest_mean": 2.0, "step": 1.0},
        **{"stds": (1.0,), "samples": 200, "replicates": 2, "layers": 2, "units": 4, "epochs": 1, "examples": 40},
        **{"measured": 20, "injected": (0.1,), "draws": 2, "seeds": 1},
    },
    "depth": {
        **{"depths": (2, 6), "units": 4, "epochs": 5, "learning_rates": (0.1, 0.2, 0.4), "widenings": 0},
        **{"tuning_seeds": 1, "examples": 40, "seeds": 1},
    },
    "dose_response": {
        **{"doses": (0.0, 1.0), "layers": 2, "units": 4, "epochs": 1, "examples": 40, "tuning_seeds": 1},
        **{"learning_rates": (0.1, 0.2, 0.4), "widenings": 0, "seeds": 1},
    },
    "fisher_spectrum": {
        **{"activations": ("elu", "relu"), "layers": 2, "units": 4, "examples": 12, "epochs": 1},
        **{"seeds": 1, "seeds_at_once": 1},
    },
    "footprint": {
        **{"networks": ("fully_connected",), "batch_size": 4, "repetitions": 1, "shortest": 0.0, "measured": 4},
        **{"seeds": 1},
    },
    "imagenet": {
        **{"images": 2, "side": 20, "crop": 16, "width": 0.01, "classes": 3, "batch_size": 1, "repetitions": 1},
        **{"seeds": 1},
    },
    "gaussian_closure": {
        **{"activations": ("elu", "relu"), "layers": 2, "units": 4, "epochs": 1, "examples": 40, "seeds": 1},
    },
    "initialisation_and_rate": {
        **{"examples": 40, "layers": 2, "units": 4, "epochs": 1, "learning_rates": (0.1, 0.2, 0.4), "widenings": 0},
        **{"tuning_seeds": 1, "seeds": 1, "draws": 1},
    },
    "learning_behaviour": {"layers": 2, "units": 4, "epochs": 1, "examples": 40, "measured": 20, "seeds": 1},
    "mean_activations": {"widths": (8,), "depth": 2, "examples": 10, "seeds": 2, "initialisations": ("he",)},
    "median_variance": {"layers": 2, "units": 4, "epochs": 3, "examples": 40, "seeds": 1},
    "moment_accuracy": {"means": 3, "stds": 2},
    "natural_gradient_descent": {
        **{"features": 3, "examples": 20, "hidden": 2, "seeds": 1, "steps": 3, "learning_rates": (0.1,)},
    },
    "predicted_speed": {
        **{"examples": 20, "depths": (2,), "widths": (8,), "initialisations": ("he",), "batch_sizes": (0,)},
        **{"longest": 5, "draws": 1, "seeds": 1, "activations": ("elu", "relu")},
    },
    "vanishing_gradient": {
        **{"activations": ("elu", "relu"), "initialisations": ("he",), "width": 32, "depth": 3, "seeds": 2},
    },
}


def small_options(name: str) -> list[str]:
    """The words that make an analysis small."""
    words: list[str] = []
    for field, value in SMALL[name].items():
        words += [f"--{field.replace('_', '-')}", *(map(str, value) if isinstance(value, tuple) else (str(value),))]
    return words
