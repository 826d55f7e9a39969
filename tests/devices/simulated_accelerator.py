"""A CPU that poses as an accelerator: tensors with values on a device of their own, and torch's rules for mixing them.

Operations are carried out on the CPU. What a CUDA device refuses is refused here: operands on two devices (but for
zero-dimensional CPU tensors in elementwise operations, and CPU indices), a CPU generator, conversion to numpy. Whatever
makes the host wait for the device is noted. The device is registered with torch as a PrivateUse1 backend, for the whole
process and before the first backward pass: use `in_simulation`.
"""

import multiprocessing
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils.backend_registration import _DummyBackendModule, _setup_privateuseone_for_python_backend

NAME = "simulated"
aten = torch.ops.aten

_INDEXING = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default}
_WAITING = {
    aten._local_scalar_dense.default,
    aten.equal.default,
    aten.nonzero.default,
    aten.masked_select.default,
    aten._linalg_check_errors.default,
    aten._linalg_eigh.default,
}


class WrongDeviceError(RuntimeError):
    """What torch would refuse to do on an accelerator."""


class SimulatedTensor(Tensor):
    """A tensor on the simulated device; `values` on the CPU are what it holds."""

    values: Tensor

    @staticmethod
    def __new__(cls, values: Tensor) -> "SimulatedTensor":
        tensor = Tensor._make_wrapper_subclass(
            cls,
            values.shape,
            strides=values.stride(),
            storage_offset=values.storage_offset(),
            dtype=values.dtype,
            device=torch.device(NAME, 0),
        )
        tensor.values = values
        return tensor

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise WrongDeviceError(f"{operation} on a tensor of the simulated device outside of SimulatedAccelerator")

    def __tensor_flatten__(self) -> tuple[list[str], None]:
        return ["values"], None

    @staticmethod
    def __tensor_unflatten__(inner: dict[str, Tensor], *_: Any) -> "SimulatedTensor":
        return SimulatedTensor(inner["values"])

    def tolist(self) -> Any:  # torch has none for subclasses
        return self.cpu().tolist()


class SimulatedAccelerator(TorchDispatchMode):
    """Inside, `device` exists. `reads`: operations so far for which the host waits; `refusals`: what was refused.

    On leaving raises WrongDeviceError for a refusal that the code under test swallowed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.device = torch.device(NAME, 0)
        self.reads: list[str] = []
        self.refusals: list[WrongDeviceError] = []

    def __enter__(self) -> "SimulatedAccelerator":
        self._lifted_before = torch._C._only_lift_cpu_tensors()
        torch._C._set_only_lift_cpu_tensors(True)  # torch.tensor(…, device=…) comes through __torch_dispatch__, too
        return super().__enter__()

    def __exit__(self, kind: Any, *rest: Any) -> None:
        super().__exit__(kind, *rest)
        torch._C._set_only_lift_cpu_tensors(self._lifted_before)
        if kind is None and self.refusals:
            raise self.refusals[0]

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        tensors = list(_tensors([*args, *kwargs.values()]))
        inside = any(map(_is_inside, tensors))
        asked = kwargs.get("device")
        result_inside = inside if asked is None else torch.device(asked).type == NAME
        if operation is aten.copy_.default:
            result_inside = _is_inside(args[0])
        elif inside:
            self._check_operands(operation, args, kwargs, tensors)
        if result_inside and isinstance(kwargs.get("generator"), torch.Generator):
            self._refuse(f"{operation} with a generator on the CPU")
        if inside and _waits(operation, args, result_inside):
            self.reads.append(str(operation))
        own = {key: _values_of(value) for key, value in kwargs.items()}
        if asked is not None and result_inside:
            own["device"] = torch.device("cpu")
        result = operation(*_values_of(args), **own)
        if not result_inside:
            return result
        if _makes_new_tensors(operation):
            return _on_device(result)
        return return_and_correct_aliasing(operation, args, kwargs, _on_device(result))

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Nothing is compiled here; torch's guard against it costs as much as the operation."""
        return False

    def _check_operands(self, operation: Any, args: Any, kwargs: Any, tensors: list[Tensor]) -> None:
        if operation in _INDEXING:
            tensors = [args[0], *([args[2]] if len(args) > 2 else [])]
        outside = [tensor for tensor in tensors if not _is_inside(tensor)]
        if not outside and operation not in _INDEXING:
            return
        scalars = torch.Tag.pointwise in operation.tags or operation in _INDEXING
        if outside and not (scalars and all(tensor.ndim == 0 for tensor in outside)):
            shapes = ", ".join(f"{tuple(tensor.shape)} on {tensor.device}" for tensor in tensors)
            self._refuse(f"{operation} of tensors on different devices: {shapes}")
        for name, argument in zip(operation._schema.arguments, [*args, *kwargs.values()], strict=False):
            written = name.alias_info is not None and name.alias_info.is_write
            if written and isinstance(argument, Tensor) and not _is_inside(argument):
                self._refuse(f"{operation} writes into a tensor on {argument.device}")

    def _refuse(self, what: str) -> None:
        refusal = WrongDeviceError(what)
        self.refusals.append(refusal)
        raise refusal


def _is_inside(value: Any) -> bool:
    return isinstance(value, SimulatedTensor)


def _tensors(values: Iterable[Any]) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)


def _values_of(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_values_of(part) for part in value]
    return value.values if _is_inside(value) else value


def _on_device(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return type(value)(_on_device(part) for part in value)
    return SimulatedTensor(value) if isinstance(value, Tensor) else value


@cache
def _makes_new_tensors(operation: Any) -> bool:
    """No result of the operation shares its memory with an argument."""
    return all(value.alias_info is None for value in (*operation._schema.arguments, *operation._schema.returns))


def _waits(operation: Any, args: Any, result_inside: bool) -> bool:
    if operation in _INDEXING:
        masks = [index for index in args[1] if index is not None and index.dtype == torch.bool]
        scalar = len(args) > 2 and args[2].numel() == 1
        return bool(masks) and not scalar
    if operation in (aten._to_copy.default, aten.copy_.default):
        return not result_inside
    return operation in _WAITING


class _Backend(_DummyBackendModule):
    """Random numbers of the simulated device are the CPU's."""

    def get_rng_state(self, device: Any = NAME) -> Tensor:
        return torch.random.get_rng_state()

    def set_rng_state(self, state: Tensor, device: Any = NAME) -> None:
        torch.random.set_rng_state(state)


def register() -> None:
    """Makes the device known to torch, for good."""
    warnings.simplefilter("error")
    _setup_privateuseone_for_python_backend(NAME, backend_module=_Backend())


@contextmanager
def simulation_process() -> Iterator[Callable[..., Any]]:
    """A process of its own that has the device: what is yielded runs a module's function there, as if it ran here."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), initializer=register) as executor:
        yield lambda function, *arguments: executor.submit(function, *arguments).result()
