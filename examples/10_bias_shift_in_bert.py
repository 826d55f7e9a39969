"""
Find the bias shift in a Hugging Face BERT
==========================================

Where in a transformer are activations far from zero, and what would the unit natural gradient change? One call tells,
for every layer, with the padding left out.
"""

from importlib.util import find_spec

import torch

import elutheory as et

# %%
# A small BERT with random weights, or your own: ``AutoModelForSequenceClassification.from_pretrained(…)``. Where
# transformers is not installed, this page ends here.


def diagnosis_of_a_bert() -> et.Diagnosis:
    """Of 48 sentences of random words, a third of their positions padding."""
    from transformers import BertConfig, BertForSequenceClassification  # noqa: PLC0415

    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    model = BertForSequenceClassification(BertConfig(vocab_size=100, num_labels=3, **sizes)).eval()
    words, labels = torch.randint(1, 100, (48, 12)), torch.randint(0, 3, (48,))
    mask = torch.ones_like(words)
    mask[::2, 4:] = 0
    layers = [name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)]
    batch = {"input_ids": words, "attention_mask": mask, "labels": labels}
    return et.diagnose(model, batch, layers=layers, units=4, fisher_examples=24)


# %%
# Rows in the order of the model; the figure's labels are the names without the words that all share.

if find_spec("transformers") is None:
    print("transformers is not installed: pip install 'elutheory[transformers]'")
else:
    diagnosis = diagnosis_of_a_bert()
    print(diagnosis.table[["layer", "mean_share", "s_times_c", "cosine", "activation"]].to_string())
    figure = diagnosis.plot()
