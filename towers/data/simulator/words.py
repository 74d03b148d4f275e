"""Word lists of the simulated service: genres and their sub-genres, title words, plots, people, countries.

Nouns of titles are distinct over all sub-genres, so that titles built from them are distinct too.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Genre:
    """One genre and the words its titles are told with.

    near: other genres that its titles may also belong to.
    adjectives, places: title words; roles, aims: the plot is "A {role} {aim} in {place}.".
    sub_genres: name → nouns of its titles.
    """

    name: str
    near: tuple[str, ...]
    adjectives: tuple[str, ...]
    places: tuple[str, ...]
    roles: tuple[str, ...]
    aims: tuple[str, ...]
    sub_genres: dict[str, tuple[str, ...]]


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(","))


GENRES: tuple[Genre, ...] = (
    Genre(
        "Crime",
        ("Action", "Drama"),
        _words(
            "Crooked, Silent, Midnight, Guilty, Unmarked, Borrowed, Last, Bitter, Sealed, Cold, "
            "Grey, Double, Missing, Faithless"
        ),
        _words(
            "Harbour Nine, Saltgate, Lower Mercer, Dockside, Ravel Street, Kessler Heights, "
            "Eastbridge, Tollgate, Marrow Lane, Pier Forty"
        ),
        _words("retired detective, night clerk, disgraced lawyer, locksmith, rookie constable"),
        _words(
            "reopens a case nobody wanted solved, hides a witness, plans one final job, follows "
            "the money, keeps a dangerous secret"
        ),
        {
            "Heist": _words(
                "Vault, Getaway, Safe, Crew, Diamond, Blueprint, Haul, Inside Man, Cutters, Payroll"
            ),
            "Detective": _words(
                "Inspector, Alibi, Clue, Witness, Cold Case, Fingerprint, Sleuth, Ledger, Confession, Suspect"
            ),
            "Courtroom": _words(
                "Verdict, Jury, Defence, Testimony, Oath, Appeal, Prosecutor, Motive, Sentence, Objection"
            ),
            "Underworld": _words(
                "Syndicate, Kingpin, Debt, Enforcer, Smuggler, Informer, Racket, Family Business, "
                "Boss, Turncoat"
            ),
        },
    ),
    Genre(
        "Science Fiction",
        ("Action", "Horror"),
        _words(
            "Distant, Orbital, Hollow, Infinite, Stolen, Electric, Final, Burning, Quantum, "
            "Frozen, Synthetic, Drifting, Second, Unknown"
        ),
        _words(
            "Kepler Station, Ganymede, Neo Lagos, Sector Twelve, Titan, New Kyoto, Lagrange, "
            "Meridian, Vega Prime, Dustfall"
        ),
        _words("salvage pilot, linguist, clone, stranded engineer, courier"),
        _words(
            "answers a signal from nowhere, wakes a century late, outruns a corporation, "
            "repairs the last ship, learns who built the sky"
        ),
        {
            "Space Opera": _words(
                "Starship, Armada, Nebula, Admiral, Galaxy, Outpost, Fleet, Comet, Empire, Navigator"
            ),
            "Time Travel": _words(
                "Paradox, Hourglass, Tomorrow, Loop, Century, Clockmaker, Yesterday, Timeline, Minute, Echo"
            ),
            "Cyberpunk": _words(
                "Network, Circuit, Hacker, Android, Neon, Signal, Mainframe, Avatar, Protocol, Glitch"
            ),
            "First Contact": _words(
                "Visitor, Arrival, Message, Envoy, Beacon, Stranger, Landing, Translator, "
                "Ambassador, Lightfall"
            ),
        },
    ),
    Genre(
        "Romance",
        ("Comedy", "Drama"),
        _words(
            "Gentle, Sweet, Unspoken, Golden, Tender, Secret, Patient, Hopeful, Summer, "
            "Forgotten, Perfect, Slow, Reluctant, Starlit"
        ),
        _words(
            "Willowmere, Lisbon, Rose Cottage, Amalfi, Larkspur, Jaipur, Montmartre, "
            "Windermere, Savannah, Bluebell Hill"
        ),
        _words("florist, violin maker, travel writer, widowed teacher, pastry chef"),
        _words(
            "meets an old flame, answers the wrong letter, falls for a rival, gives love one "
            "more chance, pretends to be engaged"
        ),
        {
            "Romantic Comedy": _words(
                "Blind Date, Best Man, Kiss, Bouquet, Roommate, Proposal, Matchmaker, Ex, Plus One, Meet-Cute"
            ),
            "Period Romance": _words(
                "Duchess, Ball, Governess, Suitor, Locket, Corset, Manor, Courtship, Viscount, Love Letter"
            ),
            "Second Chances": _words(
                "Reunion, Homecoming, Sunset, Promise, Goodbye, Anniversary, Old Flame, Widow, Vow, Return"
            ),
            "Holiday Romance": _words(
                "Mistletoe, Snowfall, Beach House, Vacation, Lighthouse, Ferry, Fireplace, "
                "Vineyard, Island, Postcard"
            ),
        },
    ),
    Genre(
        "Horror",
        ("Crime", "Fantasy"),
        _words(
            "Dark, Pale, Rotting, Whispering, Buried, Hungry, Nameless, Bleeding, Hollowed, "
            "Restless, Thirteenth, Crawling, Lightless, Cursed"
        ),
        _words(
            "Blackmoor, Widow Creek, Gallows Hill, Wychwood, Dead Lake, Ashgrove, Fenwick, "
            "Grimstead, Salem Hollow, Thornfield"
        ),
        _words("sleepless nurse, night watchman, grieving mother, folklorist, runaway"),
        _words(
            "hears knocking below the floor, breaks an old bargain, is followed home, cannot "
            "leave before dawn, doubts every mirror"
        ),
        {
            "Haunted House": _words(
                "Attic, Cellar, Staircase, Nursery, Mirror, Séance, Poltergeist, Door, Caretaker, Crawlspace"
            ),
            "Folk Horror": _words(
                "Harvest, Ritual, Scarecrow, Effigy, Coven, Maypole, Bonfire, Wicker Child, "
                "Sacrifice, Solstice"
            ),
            "Creature Feature": _words(
                "Beast, Swarm, Fang, Brood, Leech, Claw, Hive, Lurker, Spawn, Tentacle"
            ),
            "Psychological Horror": _words(
                "Insomnia, Obsession, Asylum, Hypnotist, Delusion, Stalker, Therapist, Nightmare, "
                "Whisper, Puppet"
            ),
        },
    ),
    Genre(
        "Documentary",
        (),
        _words(
            "Living, Hidden, Untold, Great, Vanishing, Real, Inside, Ancient, Wild, Everyday, "
            "Lost, Modern, True, Disappearing"
        ),
        _words(
            "Patagonia, the Mekong, the Sahel, Svalbard, Oaxaca, the Hebrides, Borneo, the "
            "Danube, Okinawa, the Karoo"
        ),
        _words("field biologist, archivist, street cook, sound recordist, local historian"),
        _words(
            "spends a year watching, collects the stories of strangers, retraces a forgotten "
            "road, asks what was lost, finds an unlikely master"
        ),
        {
            "Nature": _words(
                "Ocean, Rainforest, Reef, Migration, Glacier, Savanna, Wolf Pack, Monsoon, Canopy, "
                "River Delta"
            ),
            "Music": _words(
                "Songbook, Encore, Drummer, Jazz Club, Vinyl, Choir, Backstage, Anthem, Guitar, Headliner"
            ),
            "Food and Travel": _words(
                "Kitchen, Market, Spice Road, Noodle, Harvest Table, Bakery, Street Food, Feast, "
                "Recipe, Tea House"
            ),
            "History": _words(
                "Archive, Dynasty, Revolution, Expedition, Treaty, Ruins, Pharaoh, Railway, Chronicle, Atlas"
            ),
        },
    ),
    Genre(
        "Comedy",
        ("Romance", "Crime"),
        _words(
            "Clumsy, Unlikely, Terrible, Accidental, Awkward, Overdue, Reluctantly Famous, "
            "Hopeless, Lucky, Noisy, Improper, Part-Time, Loud, Barely Legal"
        ),
        _words(
            "Dullsville, Conference Room B, Route Six, Lake Regret, Sandwich, Level Three, "
            "Nowhere-on-Sea, Bingo Bay, Middleton, Terminal Two"
        ),
        _words("substitute manager, wedding DJ, failed magician, anxious intern, minor royal"),
        _words(
            "takes the wrong suitcase, is promoted by mistake, organises the worst party, wins "
            "the wrong election, crosses the country in a hearse"
        ),
        {
            "Workplace Comedy": _words(
                "Office, Intern, Stapler, Team Building, Coffee Break, Spreadsheet, Lunch Hour, "
                "Merger, Night Shift, Temp"
            ),
            "Road Trip": _words(
                "Camper Van, Detour, Hitchhiker, Backseat, Motel, Flat Tyre, Shortcut, Roadmap, "
                "Caravan, Convoy"
            ),
            "Satire": _words(
                "Senator, Campaign, Scandal, Ministry, Influencer, Press Conference, Billionaire, "
                "Spin Doctor, Mayor, Referendum"
            ),
            "Family Comedy": _words(
                "Babysitter, In-Laws, Birthday, Sleepover, Grandpa, Barbecue, Stepbrother, Pet "
                "Sitter, Twins, Wedding Cake"
            ),
        },
    ),
    Genre(
        "Fantasy",
        ("Action", "Romance"),
        _words(
            "Enchanted, Broken, Silver, Moonlit, Sleeping, Exiled, Eternal, Winged, Forbidden, "
            "Ivory, Wandering, Thorned, Crowned, Emerald"
        ),
        _words(
            "Eldermoor, Valdris, the Nine Rivers, Silverfen, Ys, Kaer Dun, Ombra, the Glass "
            "Coast, Thalassa, Rookhold"
        ),
        _words("hedge witch, deserter, foundling, court scribe, cursed prince"),
        _words(
            "steals a name, carries a sleeping fire, must crown an enemy, bargains with the "
            "river, wakes the old roads"
        ),
        {
            "Sword and Sorcery": _words(
                "Blade, Sorcerer, Dragon, Warlord, Grimoire, Shield, Paladin, Dungeon, Rune, Barbarian"
            ),
            "Fairy Tale": _words(
                "Princess, Spindle, Goblin, Glass Slipper, Godmother, Woodcutter, Swan, Thimble, "
                "Giant, Riddle"
            ),
            "Urban Fantasy": _words(
                "Night Bus, Warlock, Familiar, Pawnshop, Vampire, Tattoo, Alchemist, Underground, "
                "Hex, Gargoyle"
            ),
            "Mythic Quest": _words(
                "Oracle, Labyrinth, Titaness, Golden Fleece, Phoenix, Odyssey, Minotaur, Trident, "
                "Pantheon, Pilgrim"
            ),
        },
    ),
    Genre(
        "Drama",
        ("Romance", "Crime"),
        _words(
            "Quiet, Long, Open, Fragile, Ordinary, Proud, Unfinished, Honest, Heavy, Empty, "
            "Late, Small, Divided, Clear"
        ),
        _words(
            "Clearwater, Calle Luna, Maple Crossing, Sundown, Ibadan, Halden, Riverside, Mill "
            "Road, Santa Rosa, Kowloon"
        ),
        _words("eldest daughter, bus driver, young surgeon, boxer, exchange student"),
        _words(
            "comes home after twenty years, faces an impossible choice, learns to lose, raises "
            "a stranger's child, keeps a promise"
        ),
        {
            "Family Saga": _words(
                "Inheritance, Orchard, Sisters, Patriarch, Heirloom, Homestead, Cousins, Farm, Legacy, Kin"
            ),
            "Coming of Age": _words(
                "Summer Job, First Year, Graduation, Skateboard, Diary, Prom, Scholarship, "
                "Treehouse, Mixtape, Seventeen"
            ),
            "Sports Drama": _words(
                "Contender, Marathon, Penalty, Coach, Relay, Ring, Home Team, Goalkeeper, Sprint, Underdog"
            ),
            "Medical Drama": _words(
                "Surgeon, Ward, Diagnosis, Heartbeat, Midwife, Emergency, Resident, Transplant, "
                "Remission, Clinic"
            ),
        },
    ),
    Genre(
        "Action",
        ("Science Fiction", "Crime"),
        _words(
            "Rogue, Lethal, Red, Zero, Maximum, Shattered, Iron, Breakneck, Hostile, Savage, "
            "Rapid, Blown, Deadly, Sudden"
        ),
        _words(
            "Istanbul, Sao Paulo, Macau, Marseille, Nairobi, the Arctic, Odessa, Bangkok, "
            "Checkpoint Delta, Fort Granite"
        ),
        _words("burned agent, bodyguard, helicopter pilot, bomb technician, mountain guide"),
        _words(
            "has one hour to clear their name, protects the wrong client, goes back for the "
            "team, stops a train that cannot stop, trusts an old rival"
        ),
        {
            "Spy": _words(
                "Agent, Cipher, Double Cross, Dossier, Safehouse, Defector, Mole, Briefcase, "
                "Codename, Handler"
            ),
            "Martial Arts": _words(
                "Fist, Dojo, Tiger, Kick, Monk, Master, Tournament, Katana, Lotus, Sparring Partner"
            ),
            "Disaster": _words(
                "Earthquake, Tsunami, Volcano, Avalanche, Inferno, Cyclone, Blackout, Collapse, "
                "Flood, Meltdown"
            ),
            "Survival": _words(
                "Wilderness, Blizzard, Castaway, Summit, Raft, Desert, Rescue, Canyon, Trapper, Descent"
            ),
        },
    ),
    Genre(
        "Animation",
        (),
        _words(
            "Little, Brave, Giggling, Flying, Curious, Rainbow, Tiny, Magic, Bouncy, Cosy, "
            "Mighty, Sleepy, Sparkling, Merry"
        ),
        _words(
            "Pebble Pond, Cloudtop, Acorn Alley, Marmalade Bay, Button Town, Candle Cove, "
            "Pumpkin Park, Starberry, Whistle Wood, Puddle Street"
        ),
        _words("shy hedgehog, toy robot, singing snail, young inventor, homesick cloud"),
        _words(
            "makes a very odd friend, looks for the missing moon, joins the big parade, learns "
            "to fly, saves the winter fair"
        ),
        {
            "Talking Animals": _words(
                "Hedgehog, Otter, Penguin, Squirrel, Badger, Kitten, Owl, Hamster, Duckling, Fox Cub"
            ),
            "Robots": _words(
                "Robot, Gizmo, Toaster, Rocket, Gadget, Tin Friend, Submarine, Spark Plug, Wheel, Battery"
            ),
            "Musical Adventure": _words(
                "Melody, Trumpet, Sing-Along, Piano, Lullaby, Parade, Tambourine, Duet, Carousel, Chorus"
            ),
            "Small Heroes": _words(
                "Caped Kid, Shrinking Girl, Sidekick, Superpup, Mask, Invention Club, Treasure Map, "
                "Kite, Captain, Time Sled"
            ),
        },
    ),
)

FIRST_NAMES = _words(
    "Ada, Amara, Anders, Anjali, Arturo, Aiko, Beatriz, Bram, Camila, Chidi, Clara, "
    "Dae, Dalia, Diego, Elif, Emeka, Esther, Farid, Fiona, Gaspard, Greta, Hana, Hugo, "
    "Ifeoma, Ines, Ivo, Jaya, Joon, Josefa, Kaito, Karim, Katya, Lars, Leila, Lucien, "
    "Magda, Malik, Marisol, Mateo, Mei, Milan, Nadia, Ngozi, Noor, Olivia, Oskar, "
    "Paloma, Pavel, Priya, Rafael, Rosa, Sami, Sanjay, Simone, Sofia, Tadeusz, Tomas, "
    "Uma, Viktor, Wanda, Yara, Yuki, Zofia, Zane"
)
LAST_NAMES = _words(
    "Abara, Adeyemi, Albrecht, Amsel, Arai, Arnaud, Baptiste, Belmonte, Bergstrom, "
    "Bhatt, Brandt, Calloway, Castellan, Cho, Corvin, Dacosta, Delacroix, Desai, "
    "Dombrowski, Duarte, Eklund, Endo, Espinar, Eze, Falk, Farrow, Ferreira, Fontaine, "
    "Fujimori, Gallagher, Garrick, Grabowski, Greaves, Haddad, Halvorsen, Harlow, "
    "Hayashi, Hwang, Ibarra, Ilves, Iyer, Jansen, Joubert, Kaplan, Kasimov, Keller, "
    "Khatri, Kowal, Lachance, Larkin, Lindqvist, Lozano, Madsen, Marchetti, Mbeki, "
    "Mendoza, Menon, Mori, Moreau, Nakata, Navarro, Novak, Nwosu, Obi, Okafor, "
    "Oliveira, Ortega, Osei, Pak, Pellegrin, Petrov, Quintero, Rao, Rasmussen, Reyes, "
    "Rousseau, Ryu, Sandoval, Sato, Sauvage, Seong, Silveira, Soler, Sorensen, Tanaka, "
    "Thorne, Tran, Uchida, Vance, Varga, Vasquez, Weiss, Whitlock, Winter, Yamada, "
    "Zielinski"
)
MIDDLE_INITIALS = "ABCDEFGHJKLMNPRSTVWZ"


@dataclass(frozen=True, slots=True)
class Country:
    """code: ISO 3166-1 alpha-2; language: ISO 639-1; shares are weights of profiles and of productions.

    utc_hours: its one clock, hours ahead of UTC, without summer time; regions: four of its ISO 3166-2
    subdivisions.
    """

    code: str
    language: str
    profile_share: float
    production_share: float
    utc_hours: float
    regions: tuple[str, ...]


COUNTRIES: tuple[Country, ...] = (
    Country("US", "en", 0.28, 0.36, -5.0, _words("US-CA, US-TX, US-NY, US-FL")),
    Country("GB", "en", 0.12, 0.13, 0.0, _words("GB-ENG, GB-SCT, GB-WLS, GB-NIR")),
    Country("IN", "hi", 0.11, 0.09, 5.5, _words("IN-MH, IN-DL, IN-KA, IN-TN")),
    Country("BR", "pt", 0.09, 0.04, -3.0, _words("BR-SP, BR-RJ, BR-MG, BR-BA")),
    Country("DE", "de", 0.08, 0.05, 1.0, _words("DE-BY, DE-NW, DE-BE, DE-HH")),
    Country("FR", "fr", 0.07, 0.09, 1.0, _words("FR-IDF, FR-ARA, FR-PAC, FR-OCC")),
    Country("JP", "ja", 0.06, 0.07, 9.0, _words("JP-13, JP-27, JP-01, JP-40")),
    Country("MX", "es", 0.06, 0.04, -6.0, _words("MX-CMX, MX-JAL, MX-NLE, MX-PUE")),
    Country("ES", "es", 0.04, 0.05, 1.0, _words("ES-MD, ES-CT, ES-AN, ES-VC")),
    Country("KR", "ko", 0.04, 0.05, 9.0, _words("KR-11, KR-26, KR-41, KR-49")),
    Country("NG", "en", 0.03, 0.02, 1.0, _words("NG-LA, NG-FC, NG-KN, NG-RI")),
    Country("PL", "pl", 0.02, 0.01, 1.0, _words("PL-14, PL-12, PL-02, PL-22")),
)

KIDS_AGE_BANDS = ("3-6", "7-12")
"""The band at place b may watch certificates up to MATURITY[b]."""
AGE_BANDS = (*KIDS_AGE_BANDS, "18-24", "25-34", "35-44", "45-54", "55-64", "65+")

KIDS_SUB_GENRES: dict[str, float] = {
    "Talking Animals": 1.0,
    "Robots": 1.0,
    "Musical Adventure": 1.0,
    "Small Heroes": 1.0,
    "Fairy Tale": 0.5,
    "Nature": 0.4,
    "Family Comedy": 0.4,
}
"""What children follow, and how much."""

MATURITY = ("0+", "6+", "12+", "16+", "18+")

MATURITY_OF_GENRE: dict[str, tuple[int, int]] = {
    "Crime": (2, 4),
    "Science Fiction": (1, 3),
    "Romance": (1, 3),
    "Horror": (3, 4),
    "Documentary": (0, 2),
    "Comedy": (1, 3),
    "Fantasy": (1, 3),
    "Drama": (1, 3),
    "Action": (2, 4),
    "Animation": (0, 1),
}
"""The lowest and highest certificate, as places in MATURITY, that titles of a genre carry."""
