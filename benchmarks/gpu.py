"""Exact lists at the notebook's size on one device: `python -m benchmarks.gpu`. Torch and numpy will do."""

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from benchmarks.timing import peak_megabytes, seconds_of
from recsys_polars.ranking import DotScorer, MlpScorer, Scorer, UserBlock, rank_blocks
from recsys_polars.ranking.protocol import IntArray
from recsys_polars.ranking.rank import block_sizes

K, D_CLIP, D_NUMERIC, D_TOWER = 10, 200, 6, 64
STEPS, BATCH = 300, 2048
SAMPLE = 16


class Counted:
    """A scorer that counts the pairs which its first look, and its closer one, leave over."""

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer
        self.n_closer = self.n_exact = 0
        self.name, self.n_users, self.n_items = scorer.name, scorer.n_users, scorer.n_items
        self.user_invariant, self.device = scorer.user_invariant, scorer.device
        self.user_bytes, self.block_users = scorer.user_bytes, scorer.block_users
        self.threads_share_blocks = scorer.threads_share_blocks

    def block(self, users: IntArray) -> UserBlock:
        """As the scorer's."""
        block = self._scorer.block(users)
        if block.closer is None:
            return block
        score = block.closer.score

        def counted(places: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
            self.n_closer += len(places)
            return score(places, items)

        return block._replace(closer=block.closer._replace(score=counted))

    def exact(self, users: IntArray, items: IntArray) -> np.ndarray:
        """As the scorer's."""
        self.n_exact += len(users)
        return self._scorer.exact(users, items)


def made_vectors(n_users: int, n_items: int) -> tuple[np.ndarray, np.ndarray]:
    """Items: a unit vector of CLIP's width and some numbers; users: the mean of a few items each."""
    chance = np.random.default_rng(0)
    clip = chance.standard_normal((n_items, D_CLIP), dtype=np.float32)
    clip /= np.linalg.norm(clip, axis=1, keepdims=True)
    items = np.hstack([clip, chance.standard_normal((n_items, D_NUMERIC), dtype=np.float32)])
    liked = chance.integers(n_items, size=(n_users, 3))
    return (items[liked[:, 0]] + items[liked[:, 1]] + items[liked[:, 2]]) / 3, items


def trained_network(users: np.ndarray, items: np.ndarray, device: str) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Weights of 206 + 206 -> 256 -> 64 -> 1 after some steps: activations as a trained network has them."""
    torch.manual_seed(0)
    chance, nn = np.random.default_rng(1), torch.nn
    widths = (users.shape[1] + items.shape[1], 256, 64)
    network = nn.Sequential(
        nn.Linear(widths[0], widths[1]), nn.ReLU(), nn.Linear(widths[1], widths[2]), nn.ReLU(), nn.Linear(widths[2], 1)
    ).to(device)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    for _ in range(STEPS):
        u, i = users[chance.integers(len(users), size=BATCH)], items[chance.integers(len(items), size=BATCH)]
        targets = torch.from_numpy(((u * i).sum(axis=1) > 0).astype(np.float32)).to(device)
        logits = network(torch.from_numpy(np.hstack([u, i])).to(device))[:, 0]
        loss = nn.functional.binary_cross_entropy_with_logits(logits, targets)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return [(layer.weight.detach(), layer.bias.detach()) for layer in network if isinstance(layer, nn.Linear)]


def brute_mlp(
    users: np.ndarray, items: np.ndarray, layers: list[tuple[torch.Tensor, torch.Tensor]], user: int
) -> torch.Tensor:
    """The float64 logits of one user with every item, without any split of the first layer."""
    device = layers[0][0].device
    pairs = np.hstack([np.repeat(users[user : user + 1], len(items), axis=0), items])
    x = torch.from_numpy(pairs).to(device).double()
    for number, (weight, bias) in enumerate(layers, start=1):
        x = x @ weight.double().t() + bias.double()
        x = x.relu_() if number < len(layers) else x
    return x[:, 0]


def brute_dot(users: np.ndarray, items: np.ndarray, device: str, user: int) -> torch.Tensor:
    """The float64 dot products of one user with every item."""
    return torch.from_numpy(items).to(device).double() @ torch.from_numpy(users[user]).to(device).double()


def agreement(lists: np.ndarray, brute: Callable[[int], torch.Tensor]) -> str:
    """How many of a sample of users have the brute force's items, and how many in its order."""
    sample = np.unique(np.linspace(0, len(lists) - 1, SAMPLE).astype(int))
    same = ordered = 0
    for user in sample:
        scores = brute(int(user)).float().cpu().numpy()
        wanted = np.lexsort((np.arange(len(scores)), -scores))[:K]
        same += set(wanted) == set(lists[user])
        ordered += list(wanted) == list(lists[user])
    return f"{same}/{len(sample)} the same items, {ordered}/{len(sample)} in the same order"


def ranked(scorer: Scorer, memory_bytes: int, n_threads: int) -> np.ndarray:
    """Item rows `(n_users, K)`, best first."""
    sizes = block_sizes(scorer, n_users=scorer.n_users, n_items=scorer.n_items, k=K, memory_bytes=memory_bytes)
    if n_threads:
        sizes = sizes._replace(threads=n_threads)
    blocks = rank_blocks(scorer, np.arange(scorer.n_users), k=K, sizes=sizes)
    return np.concatenate([block.items for block in blocks]).reshape(scorer.n_users, -1)


def first_scores(scorer: Scorer, memory_bytes: int) -> None:
    """The tiles alone, without lists."""
    sizes = block_sizes(scorer, n_users=scorer.n_users, n_items=scorer.n_items, k=K, memory_bytes=memory_bytes)
    for start in range(0, scorer.n_users, sizes.users):
        block = scorer.block(np.arange(start, min(start + sizes.users, scorer.n_users)))
        for first in range(0, scorer.n_items, sizes.items):
            block.score(slice(first, min(first + sizes.items, scorer.n_items)))


def measure(
    name: str, make: Callable[[], Scorer], brute: Callable[[int], torch.Tensor], options: argparse.Namespace
) -> None:
    """Print one model's figures."""
    on_gpu, memory = options.device == "cuda", int(options.memory * 2**30)
    synchronise = torch.cuda.synchronize if on_gpu else lambda: None
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    began = time.perf_counter()
    scorer = make()
    synchronise()
    made = time.perf_counter() - began
    ranked(scorer, memory, options.threads)  # compiles, warms up
    seconds = statistics.median(
        seconds_of(lambda: (ranked(scorer, memory, options.threads), synchronise())) for _ in range(options.runs)
    )
    tiles = seconds_of(lambda: (first_scores(scorer, memory), synchronise()))
    counted = Counted(scorer)
    lists = ranked(counted, memory, options.threads)
    n_pairs = scorer.n_users * scorer.n_items
    peak = torch.cuda.max_memory_allocated() / 2**20 if on_gpu else peak_megabytes()
    looks = "float32" if scorer.block(np.arange(1)).closer is None else "16 bits, then float32"
    print(f"{name}, top {K}: {scorer.n_users:,} users x {scorer.n_items:,} items")
    print(f"  ranking          {seconds:.3f} s (median of {options.runs}), {n_pairs / seconds:.3g} pairs/s")
    print(f"  its scores alone {tiles:.3f} s; making the scorer {made:.3f} s")
    print(f"  first look       {looks}")
    print(f"  left over        {counted.n_closer:,} by the first look, {counted.n_exact:,} scored in float64")
    print(f"  peak memory      {peak:,.0f} MB of the {'device' if on_gpu else 'process'}")
    print(f"  float64 lists    {agreement(lists, brute)}")


def main() -> None:
    """Measure an MLP and a dot product."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--users", type=int, default=85_083)
    parser.add_argument("--items", type=int, default=67_706)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--memory", type=float, default=8.0, help="of the loop's buffers, GB")
    parser.add_argument("--threads", type=int, default=0, help="blocks side by side; by default what the device likes")
    options = parser.parse_args()
    card = torch.cuda.get_device_name() if options.device == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    print(f"{card}, torch {torch.__version__}")
    users, items = made_vectors(options.users, options.items)
    layers = trained_network(users, items, options.device)
    make = partial(MlpScorer, users, items, layers, device=options.device)
    measure("MLP", make, partial(brute_mlp, users, items, layers), options)
    chance = np.random.default_rng(2)
    towers = [chance.standard_normal((n, D_TOWER), dtype=np.float32) for n in (options.users, options.items)]
    make_dot = partial(DotScorer, *towers, device=options.device)
    measure("dot product", make_dot, partial(brute_dot, *towers, options.device), options)


if __name__ == "__main__":
    main()
