"""What people type instead of a title: moods and genres, in the languages of the simulated countries."""

MOOD_OF_GENRE: dict[str, str] = {
    "Crime": "gripping",
    "Science Fiction": "mind-bending",
    "Romance": "romantic",
    "Horror": "scary",
    "Documentary": "true stories",
    "Comedy": "funny",
    "Fantasy": "magical",
    "Drama": "moving",
    "Action": "exciting",
    "Animation": "for the whole family",
}
"""The mood that a genre serves, in English."""

GENRE_IN: dict[str, tuple[str, ...]] = {
    "en": (
        *("crime", "science fiction", "romance", "horror", "documentary"),
        *("comedy", "fantasy", "drama", "action", "animation"),
    ),
    "hi": (
        *("अपराध", "विज्ञान कथा", "रोमांस", "डरावनी फिल्में", "वृत्तचित्र"),
        *("कॉमेडी", "काल्पनिक", "नाटक", "एक्शन", "एनिमेशन"),
    ),
    "pt": (
        *("policial", "ficção científica", "romance", "terror", "documentário"),
        *("comédia", "fantasia", "drama", "ação", "animação"),
    ),
    "de": (
        *("krimi", "zukunftsfilm", "liebesfilm", "gruselfilm", "doku"),
        *("komödie", "märchenwelt", "schauspiel", "actionfilm", "zeichentrick"),
    ),
    "fr": (
        *("policier", "science-fiction", "film d'amour", "épouvante", "documentaire"),
        *("comédie", "fantastique", "drame", "film d'action", "dessin animé"),
    ),
    "ja": (
        *("犯罪", "空想科学", "恋愛", "ホラー", "ドキュメンタリー"),
        *("コメディ", "ファンタジー", "ドラマ", "アクション", "アニメ"),
    ),
    "es": (
        *("crimen", "ciencia ficción", "romance", "terror", "documental"),
        *("comedia", "fantasía", "drama", "acción", "animación"),
    ),
    "ko": (
        *("범죄", "공상 과학", "로맨스", "공포", "다큐멘터리"),
        *("코미디", "판타지", "드라마", "액션", "애니메이션"),
    ),
    "pl": (
        *("kryminał", "fantastyka naukowa", "romans", "horror", "dokument"),
        *("komedia", "fantastyka", "dramat", "film akcji", "animacja"),
    ),
}
"""Genre names by language, in the order of the genres."""

MOOD_IN: dict[str, tuple[str, ...]] = {
    "en": tuple(MOOD_OF_GENRE.values()),
    "hi": (
        *("रोमांचक", "दिमाग घुमाने वाली", "प्यार भरी", "डरावनी", "सच्ची कहानियाँ"),
        *("मज़ेदार", "जादुई", "भावुक", "जोशीली", "पूरे परिवार के लिए"),
    ),
    "pt": (
        *("de prender o fôlego", "de dar nó na cabeça", "romântico", "assustador", "histórias reais"),
        *("engraçado", "mágico", "comovente", "emocionante", "para toda a família"),
    ),
    "de": (
        *("fesselnd", "verblüffend", "romantisch", "gruselig", "wahre geschichten"),
        *("lustig", "zauberhaft", "bewegend", "aufregend", "für die ganze familie"),
    ),
    "fr": (
        *("haletant", "vertigineux", "romantique", "effrayant", "histoires vraies"),
        *("drôle", "magique", "émouvant", "palpitant", "pour toute la famille"),
    ),
    "ja": (
        *("手に汗握る", "不思議な", "ロマンチック", "怖い", "実話"),
        *("笑える", "魔法の世界", "泣ける", "ワクワクする", "家族向け"),
    ),
    "es": (
        *("de suspense", "alucinante", "romántico", "de miedo", "historias reales"),
        *("divertido", "mágico", "conmovedor", "trepidante", "para toda la familia"),
    ),
    "ko": (
        *("긴장감 넘치는", "기발한", "로맨틱한", "무서운", "실화"),
        *("웃긴", "마법 같은", "감동적인", "신나는", "온 가족이 함께"),
    ),
    "pl": (
        *("trzymający w napięciu", "zaskakujący", "romantyczny", "straszny", "prawdziwe historie"),
        *("śmieszny", "magiczny", "wzruszający", "ekscytujący", "dla całej rodziny"),
    ),
}
"""The moods of MOOD_OF_GENRE by language, in the order of the genres."""
