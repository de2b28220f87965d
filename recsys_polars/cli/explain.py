"""`explain`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from recsys_polars.cli.shared import LARGEST_K, Command, clipped, print_table, say, store_option
from recsys_polars.cli.values import ModelName, Whole
from recsys_polars.models import AUTO

if TYPE_CHECKING:
    from recsys_polars.recipes.explain import Explanation, Reason

NOTHING = "-"
_WIDTH, _NEAREST_WIDTH = 40, 28
"""Of titles and ids."""
_PROPOSERS = 3
"""Signals that a row names; of the others it gives the number."""


@click.command("explain", cls=Command)
@click.argument("user")
@click.option("--model", "kind", type=ModelName(), help="Default: the model trained last.")
@store_option
@click.option("-k", type=Whole(1, LARGEST_K), default=10, show_default=True, help="Length of the list.")
@click.option("--item", "item_id", metavar="ITEM", help="Explain where this item stands for the user, not the list.")
def command(*, user: str, kind: str | None, store: Path, k: int, item_id: str | None) -> None:
    """Explain why rank gives USER these items.

    How popular each is, what it is like of what the user liked, what its score is made of: parts that add up to it. Of
    catboost and auto they are the trees' Shapley values: what each kind of feature adds to `base`, the mean of the rows
    that were learnt from. Of mlp and two-tower they are what each part of the user's own mean adds to what the average
    user would have.

    \b
    recsys-polars explain 292
    recsys-polars explain 292 --model auto --item 260

    Of auto, `proposed by` names the signals that have an item among their best, and its place there; they are:

    \b
    popularity         many like it; popularity_0.05: of late, as a like fades
                       to 1 / e within 5 % of the time that the log spans
    cosine             liked by those who like what the user likes
    regression         the same by EASE: all that the user likes weighed together
    cooccurrence       near what they like in 64 dimensions of who likes what
    text               has words of what they like
    vector[NAME]       near what they like by vectors that came with the items
    category_share     of a category that they like, and popular there of late;
                       brand_share and title_share likewise
    *_recent *_lately  their own likes fade within 5 % or 20 % of that time
    """
    from recsys_polars.recipes.explain import explain
    from recsys_polars.recipes.sides import RankSettings

    explanation = explain(store, user, RankSettings(kind=kind, k=k), item_id=item_id)
    _print_reasons(explanation)
    if any(reason.parts and reason.score != reason.liked_by for reason in explanation.reasons):
        click.echo()
        _print_parts(explanation)
    say(summary(explanation, user, item_id))


def _print_reasons(explanation: "Explanation") -> None:
    reasons = explanation.reasons
    blocks = list(dict.fromkeys(block for reason in reasons for block in reason.nearest))
    proposed = any(reason.proposers for reason in reasons)
    columns = ["rank", "item_id", "title", "liked by", *(f"most like, of what they liked ({name})" for name in blocks)]
    rows = [
        [
            str(reason.rank or NOTHING),
            clipped(reason.item_id, _WIDTH),
            clipped(reason.title, _WIDTH),
            f"{reason.liked_by:>8,}",
            *(_nearest(reason, block) for block in blocks),
            *[_proposers(reason)] * proposed,
        ]
        for reason in reasons
    ]
    print_table([*columns, *["proposed by"] * proposed], rows, to_the_right=False)


def _nearest(reason: "Reason", block: str) -> str:
    if block not in reason.nearest:
        return NOTHING
    cosine, title = reason.nearest[block]
    return f"{cosine:z5.2f}  {clipped(title, _NEAREST_WIDTH)}"


def _proposers(reason: "Reason") -> str:
    ranked = sorted(reason.proposers.items(), key=lambda one: one[1])
    told = [f"{name} {rank}" for name, rank in ranked[:_PROPOSERS]]
    return ", ".join(told + [f"{len(ranked) - _PROPOSERS} more"] * (len(ranked) > _PROPOSERS)) or NOTHING


def _print_parts(explanation: "Explanation") -> None:
    told = [reason for reason in explanation.reasons if reason.parts]
    # What no row has any of, such as brands where there are none, would only widen the table.
    names = [name for name in told[0].parts if any(reason.parts[name] for reason in told)]
    rows = [
        [
            f"{reason.rank:>4}  {clipped(reason.title, _WIDTH)}",
            f"{reason.score:z.3f}",
            *(f"{reason.parts[name]:{'z.3f' if place == 0 else '+z.3f'}}" for place, name in enumerate(names)),
        ]
        for reason in told
    ]
    print_table(["rank", "score =", *names], rows)


def summary(explanation: "Explanation", user: str, item_id: str | None) -> str:
    """Return the summary line of an explanation."""
    cold = "cold: nothing liked before the test cut, served by popularity"
    who = f"user {user}: {explanation.model}, {_liked(explanation.n_liked) or cold}"
    if item_id is None:
        return f"{who}, the first {explanation.searched:,} of {explanation.n_items:,} items"
    (reason,) = explanation.reasons
    if reason.rank is not None:
        return f"{who}, item {item_id} at rank {reason.rank:,} of {_in_question(explanation)}"
    why = "the user had it" if reason.had else f"none of {_in_question(explanation)}"
    return f"{who}, item {item_id} on no list: {why}"


def _liked(n: int) -> str:
    return f"{n:,} liked item{'s' * (n > 1)}" if n else ""


def _in_question(explanation: "Explanation") -> str:
    """What an item's rank counts."""
    if explanation.searched == explanation.n_items:
        return f"all {explanation.n_items:,} items"
    which = "signals propose" if explanation.model == AUTO and explanation.n_liked else "the user had not had"
    return f"the {explanation.searched:,} items that {which}"
