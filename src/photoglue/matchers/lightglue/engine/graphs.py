"""One pair at full depth on a GPU: all layers as one recorded CUDA graph, for those who wait for each pair.

A layer is some 35 small kernels. For one pair of up to a few thousand points a fast GPU is done with them sooner than
Python can ask for them, so all layers together are recorded once and then asked for with a single call.

A graph has fixed shapes. So the tokens of a pair are padded to one of eight sizes, `SIZES`. Padding costs no attention,
since no image covers it, and it cannot reach the points, since all else in a layer works row by row. Where the two
images lie is computed inside the graph, from two numbers on the device: nothing is left over from the pair before.

Only networks without exit and pruning are recorded: the others need the host after each layer.

None of this has run on a GPU of ours yet. So each new graph is tried on the pair it was made for, against the layers
one by one; where recording fails or the two disagree, a notice says so and the network does without.
"""

import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from photoglue.errors import PhotoGlueWarning
from photoglue.matchers.lightglue.adaptive import Pack
from photoglue.matchers.lightglue.engine.folded import FoldedLayer
from photoglue.matchers.lightglue.engine.varlen import Layout, first_line, packs_attention

SIZES = (512, 1024, 1536, 2048, 3072, 4096, 6144, 8192)
"""Points of both images together. The usual 512, 1024, 2048 and 4096 an image need no padding, others a third at most,
from 1024 together. Chosen without a GPU to measure on."""

AGREEMENT = 0.3
"""How far the states of a graph may be from those of the layers one by one, as a share of their norm. Two ways to round
to bfloat16 are 0.01 to 0.1 apart after the last layer (real pairs, on a CPU: as far as bfloat16 and float32); a graph
that misses positions, partners or the points themselves is off by 0.5 to 2."""

WARM_UPS = 2
"""Runs before recording, in which libraries choose their kernels and get their workspace."""


def size_for(tokens: int) -> int | None:
    """The smallest size that has room for so many points; None: there are too many to be worth it."""
    return next((size for size in SIZES if size >= tokens), None)


class PairGraphs:
    """The graphs of one network, made when they are first needed; a copy starts without them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._refused = False
        self._layers: nn.ModuleList | None = None
        self._recorder: CudaRecorder | None = None
        self._graphs: dict[int, RecordedPair] = {}

    def __reduce__(self) -> tuple[type["PairGraphs"], tuple[()]]:
        return PairGraphs, ()

    def clear(self) -> None:
        """Forget the graphs, since the layers they were made of are no longer wanted."""
        with self._lock:
            self._forget()

    def run(self, layers: nn.ModuleList, pack: Pack) -> tuple[Pack, int]:
        """The pack after all layers and their number; or the given pack and 0, where this is not for graphs.

        There are graphs only of the layers that were given last.
        """
        size = size_for(pack.segments.total)
        if size is None or self._refused or not _recordable(layers, pack):
            return pack, 0
        with self._lock:
            if layers is not self._layers or self._recorder is None:
                self._forget()
                self._layers, self._recorder = layers, CudaRecorder(pack.x.device)
            try:
                with self._recorder.turn():
                    if size not in self._graphs:
                        self._graphs[size] = _recorded(self._recorder, layers, size, pack)
                    return replace(pack, x=self._graphs[size].states(pack)), len(layers)
            except (RuntimeError, TypeError, ValueError) as error:
                self._forget()
                self._refused = True
                warnings.warn(
                    f"Recording the layers as a CUDA graph does not work on {pack.x.device} ({first_line(error)}); "
                    "this model runs single pairs layer by layer, which is slower.",
                    PhotoGlueWarning,
                    stacklevel=2,
                )
                return pack, 0

    def _forget(self) -> None:
        if self._recorder is not None:
            self._recorder.finish()
        self._layers = self._recorder = None
        self._graphs = {}


class CudaRecorder:
    """Records work as CUDA graphs, and keeps the graphs of one network out of each other's way.

    They share memory for what they compute on the way, so that only one of them may run at a time.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        with torch.cuda.device(device):
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            self._pool = torch.cuda.graph_pool_handle()
            self._done = torch.cuda.Event()  # type: ignore[no-untyped-call]

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Work on the current stream, after that of the last turn, whatever stream that was on."""
        with torch.cuda.device(self._device):
            self._done.wait()
            yield
            self._done.record()

    def record(self, work: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        """A function that does the work again, and the tensor that its result is in then."""
        graph = torch.cuda.CUDAGraph()
        current = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        try:
            with torch.cuda.stream(self._stream):
                for _ in range(WARM_UPS):
                    work()
            # Other threads may go on using the GPU: only this one's mistakes are errors.
            with torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"):
                result = work()
        finally:
            torch.cuda.set_stream(current)  # recording that fails would leave its own behind
        current.wait_stream(self._stream)
        return graph.replay, result

    def finish(self) -> None:
        """Wait until nothing runs any more, so that memory can go."""
        self._done.synchronize()


class RecordedPair:
    """Memory for one pair of up to ``size`` points, always at the same place, and the layers recorded over it."""

    # What is made here outlives an inference mode of the caller, which would forbid to write to it later.
    @torch.inference_mode(False)
    @torch.no_grad()
    def __init__(self, recorder: CudaRecorder, layers: nn.ModuleList, size: int, like: Pack) -> None:
        self._layers = layers
        self._x = like.x.new_zeros(size, like.x.shape[1])
        self._encoding = like.encoding.new_zeros(2, size, *like.encoding.shape[2:])
        # As no pair that may be the first: one that reads them while recording, and never again, is found out.
        self._lengths = torch.tensor([1, size - 1], device=like.x.device)
        self._numbers = torch.arange(size, device=like.x.device)
        self._replay, self._result = recorder.record(self._run_layers)

    def states(self, pack: Pack) -> Float[Tensor, "t d"]:
        """The states of a pair after all layers. Its lengths travel as arguments of kernels: no host waits for them."""
        count = pack.segments.total
        self._x[:count].copy_(pack.x)
        self._encoding[:, :count].copy_(pack.encoding)
        for place, length in zip(self._lengths.unbind(), pack.segments.lengths, strict=True):
            place.fill_(length)
        self._replay()
        return self._result[:count].clone()

    def layout(self) -> Layout:
        """Where the two images lie, computed on the device; rows after theirs are of no image."""
        length0, length1 = self._lengths.unbind()
        numbers = self._numbers
        return Layout(
            offsets=_offsets(self._lengths),
            swapped=_offsets(self._lengths.flip(0)),
            rows=torch.where(numbers < length1, numbers + length0, numbers - length1),
            longest=len(numbers),
        )

    def _run_layers(self) -> Float[Tensor, "s d"]:
        layout, x = self.layout(), self._x
        for layer in self._layers:
            x = layer(x, self._encoding, layout)
        return x


def _recordable(layers: nn.ModuleList, pack: Pack) -> bool:
    """Whether this is one pair, layers folded for inference, and a device that has the attention for it."""
    first = layers[0]
    if not isinstance(first, FoldedLayer) or len(pack.pairs) != 1:
        return False
    return packs_attention(pack.x.new_empty(0, pack.x.shape[1] // first.heads, dtype=first.dtype))


def _recorded(recorder: CudaRecorder, layers: nn.ModuleList, size: int, pack: Pack) -> RecordedPair:
    """A new graph that gives for this pair, which it was not recorded on, what the layers give one by one."""
    recorded = RecordedPair(recorder, layers, size, pack)
    states, expected = recorded.states(pack), pack.x
    for layer in layers:
        expected = layer(expected, pack.encoding, pack.segments)
    if not (states - expected).norm() <= AGREEMENT * expected.norm():  # also if it is NaN
        raise RuntimeError("its results differ from those of the layers one by one")
    return recorded


def _offsets(lengths: Tensor) -> Tensor:
    return functional.pad(lengths.cumsum(0), (1, 0)).int()
