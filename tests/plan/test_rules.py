from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from isoflop.core.products import Method
from isoflop.plan.rules import RATE_RATIOS, batch_tokens, context_for, learning_rate, recipe_for
from isoflop.train.optimizers import OPTIMIZERS

TOKENS = st.floats(1e4, 1e12)
CONTEXTS = st.sampled_from([128, 256, 512, 1024, 2048])


@given(st.floats(1e9, 1e24), st.floats(1, 1e6))
def test_more_compute_never_shortens_the_context(flops: float, more: float) -> None:
    assert context_for(flops) <= context_for(flops * more)


@given(TOKENS, st.floats(1, 1e4), CONTEXTS)
def test_the_batch_is_whole_sequences_and_grows_with_tokens(tokens: float, more: float, context: int) -> None:
    batch = batch_tokens(tokens, context=context)
    assert batch >= context and batch % context == 0
    assert batch <= batch_tokens(tokens * more, context=context)


@given(TOKENS, CONTEXTS)
def test_a_recipe_trains_on_its_tokens_and_no_more(tokens: float, context: int) -> None:
    recipe = recipe_for(tokens, context=context, unique_tokens=1000, seed=3)
    assert recipe.batch_tokens == batch_tokens(tokens, context=context)
    assert recipe.learning_rate == learning_rate(recipe.batch_tokens)
    assert (recipe.context, recipe.unique_tokens, recipe.seed) == (context, 1000, 3)
    if tokens >= recipe.batch_tokens:
        assert tokens - recipe.batch_tokens < recipe.num_steps * recipe.batch_tokens <= tokens
    assert recipe.num_steps >= 1
    assert recipe.warmup_fraction >= 0 and recipe.warmup_fraction + recipe.decay_fraction <= 1


def test_the_rate_stays_near_the_optima_that_were_measured() -> None:
    """Batch, and the best rate at it in units of the reference width (docs/log.md, 58)."""
    measured = [(512, 0.0037), (512, 0.0045), (1024, 0.0079), (1024, 0.006), (2304, 0.0070), (4352, 0.0088)]
    assert all(best / 1.45 < learning_rate(batch) < best * 1.45 for batch, best in measured)


def test_a_chosen_method_reaches_the_recipe_and_has_a_rate_of_its_own() -> None:
    usual = recipe_for(1e7, context=256, unique_tokens=1000, seed=3)
    chosen = recipe_for(
        1e7, context=256, unique_tokens=1000, seed=3, method=Method("adamw", "cosine", 1e-4, 0.1, 0.999)
    )
    extras = (chosen.z_loss, chosen.label_smoothing, chosen.average_decay)
    assert (chosen.schedule, extras) == ("cosine", (1e-4, 0.1, 0.999))
    assert chosen.learning_rate == RATE_RATIOS["adamw"] * usual.learning_rate
    assert chosen.batch_tokens == usual.batch_tokens


def test_every_optimizer_has_a_rate_and_the_schedule_free_one_no_schedule() -> None:
    assert set(RATE_RATIOS) == set(OPTIMIZERS)
    recipe = recipe_for(1e7, context=256, unique_tokens=1000, seed=3, method=Method("schedule-free", "linear"))
    assert (recipe.schedule, recipe.decay_fraction) == ("constant", 0.0)
