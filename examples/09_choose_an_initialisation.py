"""
Choose an initialisation for an activation function
===================================================

Which variance of the weights suits an activation function of your own, for the data that you have? Theory answers for
the whole data set, and a network drawn so shows it.
"""

import torch
from sklearn.datasets import load_digits
from torch import nn

import elutheory as et

# %%
# An activation function of one's own, from its formula.

mine = et.Activation.from_text("where(x > 0, x, (exp(x) - 1) / 2)", name="half ELU")
critical = et.initialisation("critical", mine)
print(critical)

# %%
# What theory says of every layer for these data, with that variance and with others: gradients that neither vanish nor
# explode are those whose variance stays near 1, and a small share of the mean leaves room for what tells inputs apart.

inputs = torch.tensor(load_digits().data[:200] / 16.0)
inputs = (inputs - inputs.mean()) / inputs.std()
for weight_variance in (1.0, critical.weight_variance, 2.0):
    found = et.predict_layers(mine, inputs, depth=10, weight_variance=weight_variance)
    last = found.table.iloc[-1]
    print(
        f"weight variance {weight_variance:.3f}: mean share {last['mean_share']:.3f}, "
        f"gradient variance {found.table['gradient_variance'].iloc[0]:.3g}"
    )

# %%
# A network drawn so, measured. Its 64 units deviate from infinitely many, by more in every further layer (P6).

torch.manual_seed(0)
layers = [module for _ in range(10) for module in (nn.Linear(64, 64), mine.torch_module())]
model = nn.Sequential(*layers, nn.Linear(64, 10)).double()
et.initialise(model, "critical")
statistics = et.layer_statistics(model, inputs)
predicted = et.predict_layers(mine, inputs, depth=10, initialisation="critical").table
print(statistics.table[["layer", "mean_share"]].assign(predicted=predicted["mean_share"].to_numpy()))

# %%
# The same, drawn.

figure = statistics.plot()
