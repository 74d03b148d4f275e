"""Small MovieLens folders in each shape that GroupLens ships, written as its READMEs describe them."""

import gzip
from pathlib import Path

CSV = {
    "ratings.csv": (
        "userId,movieId,rating,timestamp\n"
        "1,1,4.0,964982703\n1,47,0.5,964982704\n9,1,5.0,964982700\n12,500,3.5,964982000\n"
    ),
    "movies.csv": (
        "movieId,title,genres\n"
        "1,Toy Story (1995),Adventure|Animation|Children\n"
        "47,Seven (a.k.a. Se7en) (1995),Mystery|Thriller\n"
        '500,"American President, The (1995)",Comedy\n'
        "171495,Cosmos,(no genres listed)\n"
    ),
    "links.csv": "movieId,imdbId,tmdbId\n"
    "1,0114709,862\n47,0114369,807\n500,0112346,\n171495,0081846,409926\n",
    "tags.csv": "userId,movieId,tag,timestamp\n1,47,bleak,964982999\n",
}
DAT = {
    "ratings.dat": "1::1193::5::978300760\n2::661::3::978302109\n1::661::4::978300761\n",
    "movies.dat": (
        "661::James and the Giant Peach (1996)::Animation|Children's|Musical\n"
        "1193::One Flew Over the Cuckoo's Nest (1975)::Drama\n"
        "73::Misérables, Les (1995)::Drama|Musical\n"
    ),
    "users.dat": "1::F::1::10::48067\n2::M::56::0::70072-1234\n3::M::25::15::55117\n",
}
ML_100K = {
    "u.data": "196\t242\t3\t881250949\n186\t2\t5\t891717742\n196\t267\t1\t881250950\n",
    "u.item": (
        "2|GoldenEye (1995)|01-Jan-1995||http://us.imdb.com/M/title-exact?GoldenEye%20(1995)|0|1|1|0\n"
        "242|Kolya|24-Jan-1997||http://us.imdb.com/M/title-exact?Kolya|0|0|0|1\n"
        "267|unknown||||1|0|0|0\n"
        "300|Délice (1990)|4-Feb-1971|||0|0|0|1\n"
    ),
    "u.user": "196|49|M|writer|55105\n186|17|F|other|T8H1N\n7|57|M|none|\n",
    "u.genre": "unknown|0\nAction|1\nAdventure|2\nComedy|3\n\n",
}


def write_folder(
    folder: Path, files: dict[str, str], zipped: bool = False, encoding: str = "latin-1"
) -> Path:
    """The folder with these files, plain or each gzipped; csv is UTF-8 whatever the encoding."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        raw = content.encode("utf-8" if name.endswith(".csv") else encoding)
        path = folder / (f"{name}.gz" if zipped else name)
        path.write_bytes(gzip.compress(raw) if zipped else raw)
    return folder
