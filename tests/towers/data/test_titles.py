import pytest
from hypothesis import given
from hypothesis import strategies as st

from towers.data.sources.titles import split_title


@pytest.mark.parametrize(
    ("text", "title", "year"),
    [
        ("Toy Story (1995)", "Toy Story", 1995),
        ("Angst  (1983)", "Angst", 1983),
        ("Heat (1995) ", "Heat", 1995),
        ("Heat ( 1995 )", "Heat ( 1995 )", None),
        ("Babylon 5", "Babylon 5", None),
        ("2001: A Space Odyssey (1968)", "2001: A Space Odyssey", 1968),
        ("1984 (Nineteen Eighty-Four) (1984)", "1984 (Nineteen Eighty-Four)", 1984),
        ("(500) Days of Summer (2009)", "(500) Days of Summer", 2009),
        ("Nine (9) (0009)", "Nine (9) (0009)", None),
        ("Death Note: Desu nôto (2006–2007)", "Death Note: Desu nôto", 2006),
        ("Fawlty Towers (1975-1979)", "Fawlty Towers", 1975),
        ("The Big Bang Theory (2007-)", "The Big Bang Theory", 2007),
        ("Diplomatic Immunity (2009– )", "Diplomatic Immunity", 2009),
        ("Land Before Time III (1995) (V)", "Land Before Time III", 1995),
        ("Burning Love (Mona) (1983))", "Burning Love (Mona)", 1983),
        ("Trip to the Moon, A (Voyage, Le) (1902)", "A Trip to the Moon (Le Voyage)", 1902),
        ("Shawshank Redemption, The (1994)", "The Shawshank Redemption", 1994),
        (
            "Good, the Bad and the Ugly, The (Buono, il brutto, il cattivo, Il) (1966)",
            "The Good, the Bad and the Ugly (Il Buono, il brutto, il cattivo)",
            1966,
        ),
        ("Avventura, L' (Adventure, The) (1960)", "L'Avventura (The Adventure)", 1960),
        ("Léon (a.k.a. Professional, The) (1994)", "Léon (a.k.a. The Professional)", 1994),
        ("Crow, The: Wicked Prayer (2005)", "The Crow: Wicked Prayer", 2005),
        ("Mystery, Alaska (1999)", "Mystery, Alaska", 1999),
        ("This World, Then the Fireworks (1997)", "This World, Then the Fireworks", 1997),
        ("Die, Mommie, Die (2003)", "Die, Mommie, Die", 2003),
        ("(1995)", "(1995)", 1995),
    ],
)  # fmt: skip
def test_the_year_and_the_article_are_told_from_the_title(text: str, title: str, year: int | None) -> None:
    assert split_title(text) == (title, year)


@given(st.text(min_size=1), st.integers(1874, 2099))
def test_no_title_is_lost_whatever_it_is(name: str, year: int) -> None:
    title, found = split_title(f"{name} ({year})")
    assert found == year
    assert title
    letters = sorted(c for c in title if not c.isspace() and c != ",")
    assert letters == sorted(c for c in (name.strip() or f"({year})") if not c.isspace() and c != ",")
