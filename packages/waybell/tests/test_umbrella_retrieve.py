import pytest
from hypothesis import given
from hypothesis import strategies as st

from waybell._desk._passages import Passage
from waybell._desk._rerank import doubt, related, rerank, worth
from waybell._desk._retrieve import fuse, strategies, trigrams, words


def passage(text: str, path: str = "a.md", start: int = 3, title: str = "") -> Passage:
    return Passage(path, start, start + text.count("\n"), title, text)


TEXTS = [
    passage("A hold is granted only if it fits under the cap."),
    passage("A deadline travels as its remaining time."),
    passage("Order is kept for each subscriber.", "packages/bus/README.md"),
    passage("def grant(waiter): return waiter", "grants.py", title="grant"),
]


def best(name: str, question: str) -> list[int]:
    return [number for number, _ in strategies(TEXTS)[name](question, 3)]


def test_words_lose_their_endings_and_identifiers_come_apart() -> None:
    assert words("The granted HOLDS fitting maxUsd_left") == [
        *("grant", "hold", "fit", "max", "usd", "left"),
    ]
    assert words("use approvals") == words("approving works")


def test_pieces_of_words_meet_over_a_typing_error() -> None:
    assert set(trigrams(["deadline"])) & set(trigrams(["deadlnie"]))
    assert best("trigram", "When does a deadlin travl?")[0] == 1


def test_words_of_other_languages_are_words() -> None:
    assert words("Größe, cafés; 時間") == ["größ", "café", "時間"]


def test_each_strategy_finds_what_it_is_good_at() -> None:
    assert best("bm25", "When is a hold granted?")[0] == 0
    assert best("outline", "the grant function")[0] == 3


def test_scores_fall_from_one() -> None:
    for search in strategies(TEXTS).values():
        scores = [score for _, score in search("Is the hold granted in time?", 10)]
        assert scores[0] == 1.0
        assert scores == sorted(scores, reverse=True)


def test_a_question_without_words_gets_the_openings_of_files_readmes_first() -> None:
    texts = [
        passage("code", "a.py", start=1),
        passage("notes", "notes.md", start=1),
        passage("more notes", "notes.md", start=9),
        passage("read me", "docs/README.md", start=1),
    ]
    for search in strategies(texts).values():
        assert search("What is this about?", 9)[0] == (3, 1.0)
        assert {number for number, _ in search("", 9)} == {0, 1, 3}


def test_a_word_that_nobody_uses_finds_nothing() -> None:
    assert best("bm25", "xylophone") == []


@given(st.text(max_size=60))
def test_retrieval_says_the_same_again(question: str) -> None:
    for name, search in strategies(TEXTS).items():
        assert search(question, 9) == strategies(TEXTS)[name](question, 9)


def test_fusion_prefers_what_several_find() -> None:
    rankings = {"bm25": [(1, 1.0), (2, 0.9)], "trigram": [(2, 1.0), (3, 0.9)]}
    assert [number for number, _ in fuse(rankings)] == [2, 1, 3]


def test_fusion_does_without_a_strategy_that_failed() -> None:
    assert fuse({"bm25": [(1, 1.0)]}) == [(1, 1.0)]
    assert fuse({}) == []


def test_a_passage_that_says_it_in_one_sentence_comes_first() -> None:
    texts = [
        passage(
            "The log rotates. Files are small. Nobody reads them. A log has lines."
        ),
        passage("The log rotates when its files are large."),
    ]
    found = [(0, 1.0), (1, 0.9)]
    assert rerank("When are the files of the log rotated?", found, texts, 5) == [1, 0]


def test_a_related_word_counts_less_than_the_word_itself() -> None:
    texts = [
        passage("It can be removed."),
        passage("It can be deleted."),
        passage("It can be painted."),
    ]
    assert words("delete")[0] in related()[words("remove")[0]]
    found = [(n, 0.5) for n in (2, 0, 1)]
    assert rerank("How is a thing deleted?", found, texts, 2) == [1, 0]


def test_a_related_word_counts_wherever_it_stands() -> None:
    texts = [
        passage("A log has many lines. All are kept. Nothing is lost."),
        passage("A log has many lines. All are kept. Nothing is dropped."),
    ]
    found = [(0, 0.5), (1, 0.5)]
    assert rerank("Which lines of a log are deleted?", found, texts, 2) == [1, 0]


def test_an_identifier_of_many_parts_outweighs_no_other_word() -> None:
    texts = [passage("Each max is left."), passage("A grant is ended.")]
    found = [(0, 0.5), (1, 0.5)]
    assert rerank("Is max_each_left ended or granted?", found, texts, 2)[0] == 1


def test_what_was_before_a_decision_counts_less_than_the_decision() -> None:
    titles = ("A log > Context", "A log > Rejected", "A log > Decision")
    parts = [passage("It is kept.", title=title) for title in titles]
    assert sorted(parts, key=worth) == parts


def test_what_is_much_worse_is_left_out() -> None:
    texts = [passage("A hold fits."), passage("Nothing of it.")]
    assert rerank("Does a hold fit?", [(0, 1.0), (1, 0.1)], texts, 5) == [0]
    assert rerank("Does a hold fit?", [], texts, 5) == []


def test_an_overview_keeps_the_order_it_was_found_in() -> None:
    assert rerank("", [(2, 1.0), (0, 0.5)], TEXTS, 5) == [2, 0]


def test_what_is_written_for_readers_counts_more_than_code_and_figures() -> None:
    prose = passage("A hold fits.")
    said = passage('def f():\n    """A hold fits."""', "a.py")
    bare = passage("def f(): return hold", "a.py")
    figures = passage("| 1 | 2.5 | 3 |")
    assert worth(prose) > worth(said) > worth(bare) > worth(figures)
    assert worth(figures, "How fast is it?") > worth(bare)


def test_a_definition_of_what_is_asked_for_counts_more_and_a_private_one_less() -> None:
    text = 'def grant():\n    """A hold fits."""'
    public = passage(text, "a.py", title="Pool > grant")
    private = passage(text, "a.py", title="Pool > _grant_first")
    asked = "Where is grant defined?"
    assert worth(public, asked) > worth(public) > worth(private, asked)


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ("When is a hold granted?", ""),
        ("How often is a hold granted?", ""),  # how it is put is no matter
        ("When are holds granted, please?", ""),  # one word of three
        ("Which fits?", ""),
        ("Is a holding grantable?", ""),  # forms of words
        ("", ""),
        ("Who grants a loan of gold?", "no source says 'loan', 'gold'"),
        ("Is remaining time a cap on holds?", "no source says all of that"),
        ("What is the difference between a hold and a deadline?", ""),
        ("Where is the lamp of the odd_bell?", "no source says 'lamp', 'odd_bell'"),
    ],
)  # fmt: skip
def test_what_shares_too_few_words_with_a_question_is_doubted(
    asked: str, why: str
) -> None:
    assert doubt(asked, TEXTS[:2]) == why


def test_what_cites_nothing_is_doubted() -> None:
    assert doubt("When is a hold granted?", []) == "no source says 'hold', 'granted'"
