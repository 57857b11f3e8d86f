"""Short vectors of known length for compiled loops: each is one value, in vector registers.

A loop over the dozen numbers of a row stays scalar when compiled, since arrays may overlap. What is
said of a row as a whole does not, and the loops read like the formulas that they compute.
"""

import math
import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from llvmlite.binding import get_host_cpu_features
from numba.core import cgutils, errors, types
from numba.extending import intrinsic, models, overload, register_model

from sttrans_core.kernels.compiling import compiled

__all__ = [
    "TILE",
    "Vector",
    "count_above",
    "dot",
    "exp",
    "full",
    "larger",
    "largest",
    "load",
    "multiply",
    "pick",
    "store",
    "total",
]

# Rows and columns of a product that are computed at once, in registers.
TILE = (8, 32) if get_host_cpu_features().get("avx512f") else (4, 16)
_FAST = ("contract", "reassoc", "nsz", "arcp", "nnan")  # as `compiled` has it
_TERMS = {32: 7, 64: 13}  # of the series of exp: within half a unit in the last place of 1


class Vector(types.Type):
    """Some numbers of one type.

    Args:
        dtype: float32 or float64, as Numba's type.
        length: How many.
    """

    def __init__(self, dtype: types.Float, length: int) -> None:
        super().__init__(name=f"Vector({dtype}, {length})")
        self.dtype, self.length = dtype, length


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, of: Vector) -> None:
        super().__init__(manager, of, _llvm(of))


def _llvm(of: Vector) -> ir.VectorType:
    return ir.VectorType(ir.FloatType() if of.dtype.bitwidth == 32 else ir.DoubleType(), of.length)


def _splat(builder: Any, value: Any, to: ir.VectorType) -> Any:
    """Repeat a number in every place."""
    first = builder.insert_element(ir.Constant(to, ir.Undefined), value, ir.IntType(32)(0))
    places = ir.Constant(ir.VectorType(ir.IntType(32), to.count), None)
    return builder.shuffle_vector(first, first, places)


def _constant(to: ir.VectorType, value: float) -> ir.Constant:
    return ir.Constant(to, [ir.Constant(to.element, value)] * to.count)


def _pointer(context: Any, builder: Any, array_type: Any, array: Any, index_type: Any, index: Any):
    """Give the address where a vector begins."""
    at = cgutils.unpack_tuple(builder, index, len(index_type))
    at = [context.cast(builder, i, of, types.intp) for i, of in zip(at, index_type, strict=True)]
    view = context.make_array(array_type)(context, builder, array)
    return cgutils.get_item_pointer(context, builder, array_type, view, at, wraparound=False)


def _check_row(array: Any, index: Any) -> None:
    if array.layout != "C" or array.ndim != len(index):
        raise errors.TypingError(
            f"A vector must lie in a row of a contiguous array; got {len(index)} indices of "
            f"{array}. Pass an index for each axis."
        )


@intrinsic
def load(_: Any, array: Any, index: Any, lengths: Any) -> Any:
    """Read a part of a row: `load(array, (i, j), lengths)` is `array[i, j : j + n]`."""
    _check_row(array, index)
    result = Vector(array.dtype, len(lengths))

    def generate(context: Any, builder: Any, __: Any, args: Any) -> Any:
        pointer = _pointer(context, builder, array, args[0], index, args[1])
        pointer = builder.bitcast(pointer, _llvm(result).as_pointer())
        return builder.load(pointer, align=result.dtype.bitwidth // 8)

    return result(array, index, lengths), generate


@intrinsic
def store(_: Any, array: Any, index: Any, vector: Any) -> Any:
    """Write a part of a row, beginning at an index."""
    _check_row(array, index)

    def generate(context: Any, builder: Any, __: Any, args: Any) -> Any:
        pointer = _pointer(context, builder, array, args[0], index, args[1])
        pointer = builder.bitcast(pointer, _llvm(vector).as_pointer())
        builder.store(args[2], pointer, align=vector.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.none(array, index, vector), generate


@intrinsic
def full(_: Any, value: Any, lengths: Any) -> Any:
    """Repeat a number in every place."""
    result = Vector(value, len(lengths))

    def generate(_context: Any, builder: Any, __: Any, args: Any) -> Any:
        return _splat(builder, args[0], _llvm(result))

    return result(value, lengths), generate


def _operator(symbol: Callable[..., Any], instruction: str) -> None:
    """Let two vectors, or a vector and a number, meet place by place."""

    @intrinsic
    def apply(_: Any, left: Any, right: Any) -> Any:
        result = left if isinstance(left, Vector) else right

        def generate(context: Any, builder: Any, __: Any, args: Any) -> Any:
            both = [
                arg
                if isinstance(of, Vector)
                else _splat(builder, context.cast(builder, arg, of, result.dtype), _llvm(result))
                for arg, of in zip(args, (left, right), strict=True)
            ]
            return getattr(builder, instruction)(*both, flags=_FAST)

        return result(left, right), generate

    @overload(symbol, inline="always")
    def meet(left, right):
        if isinstance(left, Vector) or isinstance(right, Vector):
            return lambda left, right: apply(left, right)  # noqa: PLW0108 - named as Numba asks
        return None


for _symbol, _instruction in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.truediv, "fdiv"),
):
    _operator(_symbol, _instruction)


def _reduce(builder: Any, vector: Any, of: Vector, name: str, *start: ir.Constant) -> Any:
    number = _llvm(of).element
    kind = f"v{of.length}f{of.dtype.bitwidth}"
    signature = ir.FunctionType(number, [each.type for each in start] + [_llvm(of)])
    function = cgutils.get_or_insert_function(
        builder.module, signature, f"llvm.vector.reduce.{name}.{kind}"
    )
    return builder.call(function, [*start, vector], fastmath=_FAST)


@intrinsic
def total(_: Any, vector: Any) -> Any:
    """Sum the numbers."""

    def generate(_context: Any, builder: Any, __: Any, args: Any) -> Any:
        return _reduce(builder, args[0], vector, "fadd", ir.Constant(_llvm(vector).element, -0.0))

    return vector.dtype(vector), generate


@intrinsic
def largest(_: Any, vector: Any) -> Any:
    """Give the largest number."""

    def generate(_context: Any, builder: Any, __: Any, args: Any) -> Any:
        return _reduce(builder, args[0], vector, "fmax")

    return vector.dtype(vector), generate


@intrinsic
def larger(_: Any, left: Any, right: Any) -> Any:
    """Take the larger number in each place."""

    def generate(_context: Any, builder: Any, __: Any, args: Any) -> Any:
        return builder.select(builder.fcmp_ordered(">", *args), *args)

    return left(left, right), generate


@intrinsic
def count_above(_: Any, vector: Any, limit: Any) -> Any:
    """Say how many numbers are above a limit."""

    def generate(context: Any, builder: Any, __: Any, args: Any) -> Any:
        least = _splat(builder, context.cast(builder, args[1], limit, vector.dtype), _llvm(vector))
        return _count(builder, builder.fcmp_ordered(">", args[0], least))

    return types.int64(vector, limit), generate


@intrinsic
def pick(_: Any, vector: Any, limit: Any, first: Any, value: Any, place: Any, at: Any) -> Any:
    """Append the numbers that are at least a limit to `value[at:]`, and say how many.

    Their places, counted from `first`, go to `place[at:]`.
    """
    length = 1 << (vector.length - 1).bit_length()
    whole = ir.VectorType(ir.IntType(32), length)
    counted = ir.Constant(whole, list(range(length)))

    def generate(context: Any, builder: Any, __: Any, args: Any) -> Any:
        widened = ir.Constant(whole, [min(i, vector.length) for i in range(length)])
        lowest = _constant(_llvm(vector), -math.inf)
        numbers = builder.shuffle_vector(args[0], lowest, widened)
        least = context.cast(builder, args[1], limit, vector.dtype)
        is_picked = builder.fcmp_ordered(">=", numbers, _splat(builder, least, numbers.type))
        start = context.cast(builder, args[2], first, types.int32)
        places = builder.add(counted, _splat(builder, start, whole))
        for kind, each, to, array in (
            (f"v{length}f{vector.dtype.bitwidth}", numbers, value, args[3]),
            (f"v{length}i32", places, place, args[4]),
        ):
            index = cgutils.pack_array(builder, [args[5]])
            index_type = types.UniTuple(at, 1)
            pointer = _pointer(context, builder, to, array, index_type, index)
            of = ir.FunctionType(ir.VoidType(), [each.type, pointer.type, is_picked.type])
            name = f"llvm.masked.compressstore.{kind}"
            function = cgutils.get_or_insert_function(builder.module, of, name)
            builder.call(function, [each, pointer, is_picked])
        return _count(builder, is_picked)

    return types.int64(vector, limit, first, value, place, at), generate


def _count(builder: Any, truth: Any) -> Any:
    bits = builder.bitcast(truth, ir.IntType(truth.type.count))
    return builder.ctpop(builder.zext(bits, ir.IntType(64)))


@intrinsic
def multiply(_: Any, left: Any, right: Any, start: Any, result: Any, at: Any) -> Any:
    """Write a tile of a product: `result[i:, j:] = start[j:] + left[i:] @ right[:, j:]`.

    `at` is (i, j); all four are arrays in rows, wide enough for the whole tile.
    """
    pairs = ((left, at), (right, at), (start, (at[1],)), (result, at))
    for array, index in pairs:
        _check_row(array, index)
    rows, columns = TILE
    of = Vector(right.dtype, 16)
    halves = range(0, columns, of.length)
    width = of.dtype.bitwidth // 8

    def generate(context: Any, builder: Any, __: Any, args: Any) -> Any:
        first, column = cgutils.unpack_tuple(builder, args[4], 2)

        def pointer(which: int, *index: Any) -> Any:
            array_type, kinds = (left, right, start, result)[which], (types.intp,) * len(index)
            packed = cgutils.pack_array(builder, index)
            return _pointer(context, builder, array_type, args[which], kinds, packed)

        def several(address: Any) -> Any:
            return builder.bitcast(address, _llvm(of).as_pointer())

        def shifted(value: Any, by: int) -> Any:
            return builder.add(value, ir.Constant(value.type, by))

        sums = {
            (i, j): cgutils.alloca_once(builder, _llvm(of)) for i in range(rows) for j in halves
        }
        for (_, j), place in sums.items():
            beginning = several(pointer(2, shifted(column, j)))
            builder.store(builder.load(beginning, align=width), place)
        inner = _length(context, builder, right, args[1])
        with cgutils.for_range(builder, inner) as loop:
            across = [
                builder.load(several(pointer(1, loop.index, shifted(column, j))), align=width)
                for j in halves
            ]
            for i in range(rows):
                number = builder.load(pointer(0, shifted(first, i), loop.index))
                number = _splat(builder, number, _llvm(of))
                for j, numbers in zip(halves, across, strict=True):
                    more = builder.fmul(number, numbers, flags=_FAST)
                    more = builder.fadd(builder.load(sums[i, j]), more, flags=_FAST)
                    builder.store(more, sums[i, j])
        for (i, j), place in sums.items():
            address = several(pointer(3, shifted(first, i), shifted(column, j)))
            builder.store(builder.load(place), address, align=width)
        return context.get_dummy_value()

    return types.none(left, right, start, result, at), generate


def _length(context: Any, builder: Any, array_type: Any, array: Any) -> Any:
    """Give the length of the first axis."""
    shape = context.make_array(array_type)(context, builder, array).shape
    return builder.extract_value(shape, 0)


@intrinsic
def exp(_: Any, vector: Any) -> Any:
    """Raise e to each number, which must not be positive; 0 where nothing normal comes out.

    `e^x = 2^n e^r` with a whole n and |r| <= ln(2) / 2, where the series of e^r is short.
    """
    bits, to = vector.dtype.bitwidth, _llvm(vector)
    mantissa, bias, lowest = (23, 127, -87.0) if bits == 32 else (52, 1023, -708.0)
    high = 0.693359375 if bits == 32 else 0.693147180369123816490  # n * high is exact
    low = math.log(2) - high if bits == 32 else 1.90821492927058770002e-10
    whole = ir.VectorType(ir.IntType(bits), vector.length)

    def generate(_context: Any, builder: Any, __: Any, args: Any) -> Any:
        def call(name: str, *values: Any) -> Any:
            kind = f"v{vector.length}f{bits}"
            of = ir.FunctionType(to, [to] * len(values))
            function = cgutils.get_or_insert_function(builder.module, of, f"llvm.{name}.{kind}")
            return builder.call(function, values)

        is_low = builder.fcmp_ordered("<", args[0], _constant(to, lowest))
        x = builder.select(is_low, _constant(to, lowest), args[0])
        n = call("rint", builder.fmul(x, _constant(to, 1 / math.log(2))))
        rest = call("fma", n, _constant(to, -high), x)
        rest = call("fma", n, _constant(to, -low), rest)
        series = _constant(to, 1 / math.factorial(_TERMS[bits]))
        for k in range(_TERMS[bits] - 1, -1, -1):
            series = call("fma", series, rest, _constant(to, 1 / math.factorial(k)))
        power = builder.add(builder.fptosi(n, whole), ir.Constant(whole, [bias] * vector.length))
        power = builder.shl(power, ir.Constant(whole, [mantissa] * vector.length))
        result = builder.fmul(series, builder.bitcast(power, to))
        return builder.select(is_low, _constant(to, 0.0), result)

    return vector(vector), generate


@compiled()
def dot(left: Any, right: Any) -> Any:
    """Sum the products of two vectors."""
    return total(left * right)
