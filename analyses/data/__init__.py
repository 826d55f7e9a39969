"""Labelled images as training, validation and test tensors; start with `datasets.py`.

- `datasets.py`: a data set by name or path, split, standardised, cut to fewer examples.
- `labelled_images.py`: images with their labels as they are read, before splitting.
- `prepared_images.py`: images for convolutional networks, whitened (`whitening.py`), kept on disk (`kept_arrays.py`).
- `resized_images.py`: images of any size as squares.
- `idx.py`, `cifar.py`, `images.py`, `tables.py`: the formats, namely IDX, CIFAR's binaries, folders of images, parquet.
"""
