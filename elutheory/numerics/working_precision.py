"""Working precisions belong to the whole process (python-flint's context, mpmath's): one thread at a time sets them."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock

_held = RLock()


@contextmanager
def one_thread_at_a_time() -> Iterator[None]:
    """Whoever computes beyond double precision holds this, so that no other thread moves the precision meanwhile."""
    with _held:
        yield


@contextmanager
def arb_precision(bits: int) -> Iterator[None]:
    """Arb's working precision, in this block and in no other thread."""
    # Arb is needed for certified digits only, this module by whoever verifies a derivation
    from flint import ctx  # noqa: PLC0415

    with _held:
        before = ctx.prec
        ctx.prec = bits
        try:
            yield
        finally:
            ctx.prec = before
