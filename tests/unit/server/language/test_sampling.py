"""The next token, by what was asked."""

from collections import Counter
from random import Random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from server.language.sampling import Sampling, choose

LOGITS = torch.tensor([0.0, 3.0, 1.0, 2.0])


def drawn(sampling: Sampling, count: int = 2000) -> Counter[int]:
    random = Random(1)
    chosen = choose(LOGITS.expand(count, -1), [sampling] * count, [random.random() for _ in range(count)])
    return Counter(each.token for each in chosen if each is not None)


def test_temperature_zero_takes_the_likeliest() -> None:
    assert drawn(Sampling(temperature=0)) == {1: 2000}


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_tokens_come_as_often_as_their_probability_says(temperature: float) -> None:
    counted, chances = drawn(Sampling(temperature), 5000), (LOGITS / temperature).softmax(0).tolist()
    for token, chance in enumerate(chances):
        assert counted[token] / 5000 == pytest.approx(chance, abs=0.025)


@pytest.mark.parametrize(
    ("sampling", "kept"),
    [
        (Sampling(top_k=1), {1}),
        (Sampling(top_k=2), {1, 3}),
        (Sampling(top_p=0.0), {1}),
        (Sampling(top_p=0.5), {1}),  # 0.64, 0.24, 0.09, 0.03
        (Sampling(top_p=0.7), {1, 3}),
        (Sampling(top_p=0.95), {1, 2, 3}),
        (Sampling(top_p=0.95, top_k=2), {1, 3}),
    ],
)
def test_only_the_likeliest_stay(sampling: Sampling, kept: set[int]) -> None:
    assert drawn(sampling).keys() == kept


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([0.0, 0.7, 1.5]), st.sampled_from([1.0, 0.8]), st.integers(0, 3)), min_size=1)
)
def test_company_changes_nothing(asked: list[tuple[float, float, int]]) -> None:
    how = [Sampling(*each) for each in asked]
    random = Random(len(how))
    draws = [random.random() for _ in how]
    rows = torch.tensor([[random.gauss(0, 2) for _ in range(9)] for _ in how])
    alone = [choose(rows[[row]], [how[row]], [draws[row]])[0] for row in range(len(how))]
    assert choose(rows, how, draws) == alone


def test_logprobs_are_the_models_own_whatever_the_temperature() -> None:
    (chosen,) = choose(LOGITS[None], [Sampling(temperature=0, logprobs=2)], [0.0])
    told = LOGITS.log_softmax(0)
    assert chosen is not None
    assert chosen.logprob == pytest.approx(told[1].item())
    assert [token for token, _ in chosen.alternatives] == [1, 3]
    (other,) = choose(LOGITS[None], [Sampling(logprobs=None)], [0.0])
    assert other is not None
    assert other.logprob is None


def test_a_row_that_is_no_number_spoils_no_other() -> None:
    rows = torch.stack([LOGITS, LOGITS * torch.nan])
    chosen = choose(rows, [Sampling(), Sampling()], [0.5, 0.5])
    assert chosen == [*choose(LOGITS[None], [Sampling()], [0.5]), None]


def test_several_answers_to_one_seed_differ_and_repeat() -> None:
    assert Sampling(seed=5).for_choice(2).seed == 7
    assert Sampling().for_choice(2).seed is None
