"""Contents (texts, images) -> vectors of length 1 by a pretrained encoder, each the same in any company."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import polars as pl
import torch
from torch.nn.functional import normalize

from recsys_polars.disk import fingerprint, sha256
from recsys_polars.errors import InputError
from recsys_polars.ranking.threads import mapped
from recsys_polars.tables import Vectors
from recsys_polars.vectors.cache import encodings, keep_encodings, read_encodings

Content = TypeVar("Content")
KEPT_AT_ONCE = 1_024
"""Contents that are encoded between two writes to the cache: what a killed build loses at most."""
CUDA_ROWS = 64
_MODEL_FILES = (".json", ".txt", ".safetensors")


@dataclass(frozen=True)
class Encoder(Generic[Content]):
    """A pretrained encoder of one kind of content.

    Attributes:
        block: name of the vector block that it makes.
        width: of its vectors.
        fingerprint: of all that decides about the bits of a vector.
        prepare: content -> what the network takes, without padding. Raises InputError, saying what is wrong with it.
        forward: n prepared contents of one shape -> vectors, shape (n, width).
        device: where the network lies.
    """

    block: str
    width: int
    fingerprint: str
    prepare: Callable[[Content], torch.Tensor]
    forward: Callable[[torch.Tensor], torch.Tensor]
    device: torch.device


@dataclass(frozen=True)
class Encodings:
    """What became of contents.

    Attributes:
        vectors: key String, vector Array(Float32, width), one row a key in any order.
        broken: key -> what is wrong with the content that has no vector.
        n_new: contents that were not in the cache.
    """

    vectors: pl.DataFrame
    broken: Mapping[str, str]
    n_new: int


def auto_device() -> torch.device:
    """Return CUDA where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def encoder_fingerprint(folder: Path, device: torch.device, versions: Sequence[str]) -> str:
    """Return a fingerprint of a model's files, the versions of what runs it, and the processor that it runs on."""
    cpu = device.type == "cpu"
    processor = torch.backends.cpu.get_cpu_capability() if cpu else torch.cuda.get_device_name(device)
    files = sorted(path for path in folder.rglob("*") if path.suffix in _MODEL_FILES and path.is_file())
    model = [[str(path.relative_to(folder)), sha256(path)] for path in files]
    return fingerprint([model, torch.__version__, *versions, device.type, processor])


def encode_contents(
    encoder: Encoder[Content],
    contents: Mapping[str, Content],
    cache: Path,
    *,
    progress: Callable[[str, int, int, str], None],
) -> Encodings:
    """Encode contents, those that the cache doesn't hold, and keep them there.

    Args:
        encoder: what encodes.
        contents: by key, a sha256 of the content.
        cache: folder of all encoders' vectors. One process at a time writes there.
        progress: told of each write.

    Raises:
        InputError: the encoder makes vectors that are no numbers.
    """
    folder = cache / f"{encoder.block}-{encoder.fingerprint}"
    found = read_encodings(folder, contents, width=encoder.width)
    had = set(found["key"])
    missing = [key for key in contents if key not in had]
    frames, broken = [found], dict[str, str]()
    for start in range(0, len(missing), KEPT_AT_ONCE):
        progress(f"encode {encoder.block}", start, len(missing), "contents")
        part = {key: contents[key] for key in missing[start : start + KEPT_AT_ONCE]}
        frame = _encode(encoder, part, broken)
        keep_encodings(folder, frame)
        frames.append(frame)
        progress(f"encode {encoder.block}", start + len(part), len(missing), "contents")
    return Encodings(pl.concat(frames), broken, len(missing))


def _encode(encoder: Encoder[Content], contents: Mapping[str, Content], broken: dict[str, str]) -> pl.DataFrame:
    """Encode contents; what is wrong with those that can't be goes to `broken`."""
    keys = list[str]()

    def prepared() -> Iterator[torch.Tensor]:
        for key, content in contents.items():
            try:
                one = encoder.prepare(content)
            except InputError as error:
                broken[key] = str(error)
            else:
                keys.append(key)
                yield one

    vectors = unit_vectors(encoder, prepared())
    if not np.isfinite(vectors).all():
        raise InputError(f"{encoder.block}: expected an encoder whose vectors are numbers, found NaN or infinity")
    return encodings(keys, vectors)


def unit_vectors(encoder: Encoder[Content], inputs: Iterable[torch.Tensor]) -> Vectors:
    """Return the vectors of prepared contents, of length 1: shape (n, width).

    Padding and the size of a batch change the last bits of a vector. So nothing is padded, and a batch has one size: on
    a CPU one content, each on one thread, as many side by side as there are threads; on CUDA `CUDA_ROWS` of one shape.
    """
    cpu = encoder.device.type == "cpu"
    n_rows, n_threads = (1, torch.get_num_threads()) if cpu else (CUDA_ROWS, 1)

    def work(batch: list[tuple[int, torch.Tensor]]) -> tuple[list[int], Vectors]:
        rows = [one for _, one in batch]
        filled = torch.stack(rows + rows[-1:] * (n_rows - len(rows))).to(encoder.device)
        with torch.inference_mode():
            vectors = normalize(encoder.forward(filled)[: len(rows)].float())
        return [place for place, _ in batch], vectors.cpu().numpy()

    places, found = list[int](), [np.empty((0, encoder.width), dtype=np.float32)]
    for of_batch, vectors in mapped(work, _batches(inputs, n_rows), n_threads=n_threads):
        places += of_batch
        found.append(vectors)
    in_order: Vectors = np.concatenate(found)[np.argsort(places)]
    return in_order


def _batches(inputs: Iterable[torch.Tensor], n_rows: int) -> Iterator[list[tuple[int, torch.Tensor]]]:
    """Batches of at most `n_rows` inputs of one shape, each with its place."""
    waiting: dict[torch.Size, list[tuple[int, torch.Tensor]]] = {}
    for place, one in enumerate(inputs):
        batch = waiting.setdefault(one.shape, [])
        batch.append((place, one))
        if len(batch) == n_rows:
            yield waiting.pop(one.shape)
    yield from waiting.values()
