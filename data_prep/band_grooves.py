"""What drummers play: grooves and fills on a grid, written as text.

A line is the name of a drum and its strokes: a digit is a stroke of that force (9 the hardest, 3 or less a ghost note
that is sometimes left out), a dot a rest. The strokes of a bar are spread evenly over it, so 16 are sixteenths of 4/4
and 12 are triplets, or sixteenths of 3/4. A comma starts the next bar of a groove of several bars.
"""

from typing import NamedTuple


class Groove(NamedTuple):
    """Bars for the parts of a song."""

    main: tuple[str, ...]
    """One of them is the groove of the first material of a song, another that of the bridge."""
    high: tuple[str, ...]
    """For the loud parts."""
    light: tuple[str, ...]
    """For beginnings, breaks and endings."""
    fills: tuple[str, ...]
    """Names in FILLS."""


Bars = dict[str, list[str]]
"""Strokes of each bar by the name of the drum."""


def read_bars(text: str) -> Bars:
    """Strokes from lines of text separated by slashes, `kick 9.......9....... / snare ....9.......9...`."""
    bars = {}
    for line in text.split("/"):
        drum, strokes = line.split()
        bars[drum] = strokes.split(",")
    return bars


BACKBEAT = "snare ....9.......9..."
EIGHTHS = "hat 7.5.7.5.7.5.7.5."
FOUR = "kick 9...9...9...9..."

GROOVES: dict[str, Groove] = {
    "rock": Groove(
        main=(
            f"kick 9.......9.9..... / {BACKBEAT} / {EIGHTHS}",
            "kick 9.....8.9.......,9......8..8..... / snare ....9..2....9..2 / hat 7.5.7.5.7.5.7.5.",
            f"kick 9..8....9.8..... / {BACKBEAT} / hat 8...6...8...6...",
        ),
        high=(
            f"kick 9.8.....9.8...8. / {BACKBEAT} / ride 7.5.7.5.7.5.7.5.",
            f"kick 9..8..8.9.8..... / {BACKBEAT} / open 7...7...7...7...",
        ),
        light=(
            "kick 8.......8....... / rim ....6.......6... / hat 5.3.5.3.5.3.5.3.",
            "floor 6.4.6.4.6.4.6.4. / kick 8...............",
        ),
        fills=("snare run", "toms down", "triplets", "flams", "stop"),
    ),
    "punk": Groove(
        main=(
            "kick 9...9...9...9... / snare ..9...9...9...9. / hat 8.8.8.8.8.8.8.8.",
            "kick 9..99...9..99... / snare ..9...9...9...9. / open 7...7...7...7...",
        ),
        high=(
            "kick 9.9...9.9.9...9. / snare ....9.......9... / crash 8.......8....... / open ....7.......7...",
            "kick 9...9...9...9... / snare ..9...9...9...9. / ride 8.8.8.8.8.8.8.8.",
        ),
        light=("kick 9.......9....... / floor 7.7.7.7.7.7.7.7.", "hat 7...7...7...7..."),
        fills=("snare run", "toms down", "stop"),
    ),
    "metal": Groove(
        main=(
            f"kick 9.9.9.9.9.9.9.9. / {BACKBEAT} / hat 8...8...8...8...",
            f"kick 99..99..99..99.. / {BACKBEAT} / china 8...8...8...8...",
        ),
        high=(
            f"kick 9999999999999999 / {BACKBEAT} / ride 8...8...8...8...",
            "kick 9.9.9.9.9.9.9.9. / snare .9.9.9.9.9.9.9.9 / ride 8.8.8.8.8.8.8.8.",
        ),
        light=("kick 9......9..9..... / snare ........9....... / crash 8...............", "hat 7...7...7...7..."),
        fills=("toms down", "snare run", "double kick", "stop"),
    ),
    "ballad": Groove(
        main=(
            "kick 8.......7.6..... / rim ....7.......7... / hat 6.4.5.4.6.4.5.4.",
            "kick 8......67....... / snare ....7.......7... / hat 6.4.5.4.6.4.5.4.",
        ),
        high=(
            "kick 9.....7.8.7..... / snare ....9.......9..2 / ride 7.5.6.5.7.5.6.5.",
            "kick 9.......8..7.... / snare ....9.......9... / hat 7.5.6.5.7.5.6.5. / tambourine ....5.......5...",
        ),
        light=("rim ....5.......5... / hat 4...3...4...3...", "shaker 4.3.4.3.4.3.4.3."),
        fills=("toms down", "soft toms", "flams"),
    ),
    "disco": Groove(
        main=(
            f"{FOUR} / {BACKBEAT} / hat 6.2.6.2.6.2.6.2. / open ..7...7...7...7.",
            f"{FOUR} / {BACKBEAT} / hat 6355635563556355 / cowbell 5...5...5...5...",
        ),
        high=(
            f"{FOUR} / {BACKBEAT} / clap ....8.......8... / open ..8...8...8...8. / conga ..5..5.6..5..56.",
            f"{FOUR} / {BACKBEAT} / tambourine 5.5.5.5.5.5.5.5. / open ..8...8...8...8.",
        ),
        light=(f"{FOUR} / hat ..6...6...6...6.", "conga 5..5..6.5..5..67 / shaker 4343434343434343"),
        fills=("snare run", "toms down", "claps", "stop"),
    ),
    "house": Groove(
        main=(
            f"{FOUR} / clap ....9.......9... / open ..7...7...7...7.",
            f"{FOUR} / clap ....8.......8..3 / open ..7...7...7...7. / shaker 5353535353535353 / rim ..5....5..5.....",
        ),
        high=(
            f"{FOUR} / clap ....9.......9... / open ..8...8...8...8. / conga ..5..6.5..5.6.56 / hat 5555555555555555",
            f"{FOUR} / clap ....9.......9... / snare2 ....7.......7... / open ..8...8...8...8. / ride 5...5...5...5...",
        ),
        light=("hat ..6...6...6...6.", f"{FOUR} / shaker 5353535353535353"),
        fills=("roll", "claps", "stop", "snare run"),
    ),
    "techno": Groove(
        main=(
            f"{FOUR} / hat ..7...7...7...7. / rim ...5..5....5.5..",
            f"{FOUR} / clap ....7.......7... / hat 4.7.4.7.4.7.4.7. / low ..5..5....5..5..",
        ),
        high=(
            f"{FOUR} / clap ....8.......8... / open ..8...8...8...8. / hat 6464646464646464 / cowbell ...4..4....4....",
            f"{FOUR} / ride ..7...7...7...7. / clap ....8.......8... / snare2 .......4......4.",
        ),
        light=(FOUR, "hat 4.6.4.6.4.6.4.6. / rim ...5..5....5.5.."),
        fills=("roll", "stop"),
    ),
    "trance": Groove(
        main=(
            f"{FOUR} / clap ....8.......8... / open ..8...8...8...8.",
            f"{FOUR} / open ..8...8...8...8. / hat 5555555555555555",
        ),
        high=(
            f"{FOUR} / clap ....9.......9... / open ..9...9...9...9. / ride 6...6...6...6... / hat 5656565656565656",
        ),
        light=("hat ..5...5...5...5.", "shaker 4343434343434343"),
        fills=("long roll", "roll", "stop"),
    ),
    "break": Groove(
        main=(
            "kick 9.........9..... / snare ....9..3.3..9..3 / hat 7.5.7.5.7.5.7.5.",
            "kick 9.8.......8..... / snare ....9..4.4..9..4 / ride 6.5.6.5.6.5.6.5.",
            "kick 9.........9.....,9..8......8..... / snare ....9..3.3..9...,....9..3.4....9. / hat 7575757575757575",
        ),
        high=(
            "kick 9.8.......8..... / snare ....9.4..4.49..4 / open 6...6...6...6... / shaker 5353535353535353",
            "kick 9.........98.... / snare ....9..4.4..9.44 / ride 7.7.7.7.7.7.7.7.",
        ),
        light=("hat 6.5.6.5.6.5.6.5. / rim ....5.......5...", "shaker 5353535353535353"),
        fills=("snare run", "chopped", "roll", "stop"),
    ),
    "hip hop": Groove(
        main=(
            "kick 9......8..8.....,9..8...8..8..... / snare ....9.......9... / hat 7.5.7.5.7.5.7.5.",
            "kick 9.8.......98.... / snare ....9.......9..2 / hat 6.5.6.556.5.6.5.",
            "kick 9.....8..8...... / clap ....9.......9... / hat 6.5.6.5.6.5.6565",
        ),
        high=(
            "kick 9..8..8...8..... / snare ....9.......9... / "
            "clap ....7.......7... / hat 7.5.7.5.7.557.5. / open ..............6.",
        ),
        light=("hat 5.4.5.4.5.4.5.4.", "kick 9............... / rim ....6.......6..."),
        fills=("stop", "chopped", "flams"),
    ),
    "trap": Groove(
        main=(
            "kick 9.....8...8.....,9......8..8..8.. / clap ........9....... / hat 6.5.6.5.6.5.6.5.",
            "kick 9..8......8.....,9.........8..8.. / snare ........9....... / hat 6.5.6565655565.5",
        ),
        high=(
            "kick 9.....8...8..8.. / clap ........9....... / "
            "hat 6565656565656666 / open ......6......... / rim ...4.......4....",
        ),
        light=("hat 5...5...5...5...", "kick 9..............."),
        fills=("chopped", "roll", "stop"),
    ),
    "funk": Groove(
        main=(
            "kick 9.8....8..8..... / snare ....9..3.3..9..3 / hat 7555755575557555",
            "kick 9..8......8..8.. / snare ....9..2.2.39..2 / hat 7.577.577.577.57 / open ......6.........",
            "kick 9.8.......8.8...,9..8...8..8..... / snare ....9..3.3..9...,....9..3....9..3 / hat 7.5.7.5.7.5.7.5.",
        ),
        high=(
            "kick 9.8....8.8.8.... / snare ....9..3.3..9..3 / hat 7.5.7.5.7.5.7.5. / cowbell 6..6..6...6.6...",
            "kick 9..8..8...8..8.. / snare ....9..3.3..9.33 / ride 7.5.7.5.7.5.7.5. / tambourine ....5.......5...",
        ),
        light=("hat 6444644464446444", "rim ...5..5...5..5.. / hat 6.4.6.4.6.4.6.4."),
        fills=("snare run", "flams", "stop", "toms down"),
    ),
    "reggae": Groove(
        main=(
            "kick ........9....... / rim ........8....... / hat ..6...6...6...6.",
            "kick ........9....... / rim ........8..4.... / hat 5.6.5.6.5.6.5.6.",
        ),
        high=(
            "kick 8...8...8...8... / rim ........8....... / hat 5.6.5.6.5.6.5.6. / open ..............6.",
            "kick 8.......9....... / snare ........8..3..3. / hat 5.6.5.6.5.6.5.6. / timbale ...........5....",
        ),
        light=("hat ..5...5...5...5.", "kick ........8....... / shaker 5.4.5.4.5.4.5.4."),
        fills=("timbales", "flams", "toms down"),
    ),
    "ska": Groove(
        main=(
            f"kick 9.......9....... / {BACKBEAT} / hat ..8...8...8...8.",
            f"{FOUR} / rim ....8.......8... / hat 5.8.5.8.5.8.5.8.",
        ),
        high=(f"kick 9...8...9.8.8... / {BACKBEAT} / ride 5.8.5.8.5.8.5.8.",),
        light=("hat ..6...6...6...6.", "rim ....6.......6... / hat ..6...6...6...6."),
        fills=("snare run", "toms down", "timbales", "stop"),
    ),
    "shuffle": Groove(
        main=(
            f"kick 9.......9....... / {BACKBEAT} / hat 7.5.7.5.7.5.7.5.",
            "kick 9...7...9...7... / snare ....9.2.....9.2. / ride 7.5.7.5.7.5.7.5.",
        ),
        high=(f"kick 9.....6.9.....6. / {BACKBEAT} / ride 8.5.8.5.8.5.8.5. / snare2 ..2...2...2...2.",),
        light=("hat 6.4.6.4.6.4.6.4. / rim ....5.......5...", "pedal ....6.......6..."),
        fills=("triplets", "flams", "snare run", "stop"),
    ),
    "swing": Groove(
        main=(
            "ride 7...8.5.7...8.5. / pedal ....6.......6... / kick 3...3...3...3...",
            "ride 7...8.5.7...8.5. / pedal ....6.......6... / "
            "snare ......3.......4.,..3.......3..... / kick 3...3...3...3.5.",
        ),
        high=(
            "ride 8...9.6.8...9.6. / pedal ....7.......7... / "
            "snare ......5...4.....,..4...5...3..... / kick 4...4...4...4.6.",
        ),
        light=("hat 5...6.4.5...6.4. / pedal ....5.......5...", "rim ............5... / pedal ....6.......6..."),
        fills=("triplets", "flams", "soft toms"),
    ),
    "brushes": Groove(
        main=("snare 4.3.5.3.4.3.5.3. / pedal ....5.......5... / kick 4.......4.......",),
        high=("snare 5.4.6.4.5.4.6.4. / pedal ....5.......5... / ride 5...5...5...5... / kick 5.......5.......",),
        light=("snare 3.2.4.2.3.2.4.2.",),
        fills=("soft toms", "flams"),
    ),
    "bossa": Groove(
        main=(
            "kick 7..57..57..57..5 / rim 7..7..7...7..7.. / hat 6.5.6.5.6.5.6.5.",
            "kick 7..57..57..57..5 / rim 7..7..7...7..7..,..7...7..7..7... / shaker 5353535353535353",
        ),
        high=("kick 7..57..57..57..5 / rim 8..8..8...8..8.. / ride 6.5.6.5.6.5.6.5. / shaker 5353535353535353",),
        light=("shaker 4242424242424242 / rim 5..5..5...5..5..", "hat 4.3.4.3.4.3.4.3."),
        fills=("soft toms", "flams"),
    ),
    "samba": Groove(
        main=(
            "kick 6..87..96..87..9 / snare 6.53.6.56.53.6.5 / shaker 7557755775577557",
            "floor 5.......9.......,5...4...9...4... / snare 5636563656365636 / "
            "agogo 7.7..7.7........ / agogo2 ..........7.7.7. / shaker 7557755775577557",
        ),
        high=(
            "kick 7..87..97..87..9 / snare 7.63.7.67.63.7.6 / "
            "agogo 7..7...7..7..... / agogo2 ....7.......7.7. / tambourine 7557755775577557",
        ),
        light=("shaker 6446644664466446", "tambourine 6446644664466446 / floor ........8......."),
        fills=("timbales", "snare run", "stop"),
    ),
    "salsa": Groove(
        main=(
            "claves 8.....8.....8...,....8...8....... / conga ......7.......77 / "
            "slap ....8.......8... / maracas 6.5.6.5.6.5.6.5. / kick ......6.......6.",
            "claves ....8...8.......,8.....8.....8... / conga ......7.......77 / "
            "slap ....8.......8... / guiro 7...5.5.7...5.5. / kick ......6.......6.",
        ),
        high=(
            "claves 8.....8.....8...,....8...8....... / cowbell 8...8.6.8...8.6. / conga ......7.......77 / "
            "slap ....8.......8... / timbale ............6.66 / kick ......7.......7.",
        ),
        light=(
            "claves 8.....8.....8...,....8...8....... / maracas 5.4.5.4.5.4.5.4.",
            "conga ......6.......66 / slap ....6.......6...",
        ),
        fills=("timbales", "congas", "stop"),
    ),
    "tango": Groove(
        main=("snare 6.......4...4.4. / kick 7...5...7...5...",),
        high=("snare 7.....7.....7... / kick 8...6...8...6... / pedal ....5.......5...",),
        light=("block 5.......4.......",),
        fills=("snare run", "stop"),
    ),
    "waltz": Groove(
        main=(
            "kick 8........... / pedal ....6...6...",
            "kick 8........... / snare ....4...4.3. / ride 5...4...4...",
        ),
        high=("kick 8........... / snare ....6...6.4. / ride 7...5...5... / pedal ....6...6...",),
        light=("pedal ....5...5...", "triangle 5..........."),
        fills=("waltz toms", "waltz snare"),
    ),
    "jig": Groove(
        main=("kick 8.....8..... / tambourine 7.46.47.46.4", "floor 8..5.58..5.5 / hat 6.46.46.46.4"),
        high=("kick 9..7..9..7.. / snare ....3.6....3 / tambourine 7.57.57.57.5",),
        light=("floor 6.....6.....", "tambourine 5.35.35.35.3"),
        fills=("triplets", "stop"),
    ),
    "slow twelve": Groove(
        main=(
            "kick 9.....8....7 / snare ...9.....9.. / hat 755755755755",
            "kick 9.....8..... / rim ...8.....8.. / ride 755755755755",
        ),
        high=("kick 9....78....7 / snare ...9.....9.2 / ride 855855855855",),
        light=("hat 544544544544", "rim ...5.....5.. / hat 5..5..5..5.."),
        fills=("triplets", "toms triplets"),
    ),
    "country": Groove(
        main=(
            "kick 8.......8....... / snare 3.3.7.3.3.3.7.3. / hat 5...5...5...5...",
            "kick 8...6...8...6... / snare 3.337.333.337.33",
        ),
        high=(f"kick 9.......9.8..... / {BACKBEAT} / hat 7.5.7.5.7.5.7.5. / tambourine ....6.......6...",),
        light=("snare 2.2.5.2.2.2.5.2.", "rim ....5.......5... / shaker 4.3.4.3.4.3.4.3."),
        fills=("snare run", "flams", "toms down"),
    ),
    "march": Groove(
        main=(
            "kick 9.......9....... / snare 7..57.557..57.55 / crash 6...............,................",
            "kick 9...6...9...6... / snare 7.5.7.5.7.5.7555",
        ),
        high=("kick 9...7...9...7... / snare 8.558.558.558585 / crash 7.......7.......",),
        light=("snare 5..35.335..35.33", "kick 7.......7......."),
        fills=("snare run", "roll"),
    ),
    "film": Groove(
        main=(
            "floor 8.....6...6.....,8.....6...6.6.6.",
            "low 7..5..7..5..7.5. / floor 8...............",
        ),
        high=(
            "floor 9..7..9..7..9.7. / "
            "kick 9.......9....... / crash 8...............,................,................,................",
            "floor 9.79.79.9.79.79. / snare 5.5.5.5.5.5.5.55 / kick 9...............",
        ),
        light=("triangle 4...............,................", "floor 5..............."),
        fills=("long roll", "toms down", "roll"),
    ),
    "electro": Groove(
        main=(
            "kick 9.....9...9..... / snare2 ....9.......9... / hat 7.7.7.7.7.7.7.7.",
            f"{FOUR} / snare2 ....9.......9... / hat 7.5.7.5.7.5.7.5.",
            "kick 9..9..9.9..9.... / snare2 ....9.......9.9. / hat 7777777777777777",
        ),
        high=(
            f"{FOUR} / snare2 ....9.......9... / open ..7...7...7...7. / clap ....7.......7...",
            "kick 9.9...9.9.9..... / snare2 ....9.......9.99 / hat 7777777777777777",
        ),
        light=("hat 6.6.6.6.6.6.6.6.", "kick 9.......9......."),
        fills=("snare run", "roll", "chopped", "stop"),
    ),
    "afro": Groove(
        main=(
            "kick 8...8...8...8... / rim ..6...6..6.6.... / shaker 7.577.577.577.57 / conga ....5..5....5.55",
            "kick 8.....8.8.....8. / conga 5..5.5..5..5.5.. / agogo 6.6..6.6.6..6... / shaker 6.466.466.466.46",
        ),
        high=(
            "kick 8...8...8...8... / snare ......5...5....6 / "
            "agogo 7.7..7.7.7..7... / conga 5.55.5.55.55.5.5 / shaker 7.577.577.577.57",
        ),
        light=("shaker 6.466.466.466.46", "conga 5..5.5..5..5.5.."),
        fills=("congas", "timbales", "toms down"),
    ),
}

FILLS: dict[str, tuple[float, str]] = {
    "snare run": (1.0, "snare 6789"),
    "toms down": (2.0, "high 99...... / mid ..89.... / low ....89.. / floor ......99"),
    "soft toms": (1.0, "high 5... / mid .56. / floor ...7"),
    "triplets": (2.0, "snare 8.7... / high .7.8.. / floor ....89"),
    "toms triplets": (2.0, "snare 89.... / mid ..89.. / floor ....99"),
    "flams": (1.0, "snare 6.89 / kick 7..."),
    "stop": (1.0, "kick 9... / snare 9..."),
    "double kick": (2.0, "kick 99999999 / snare 9..9..9. / floor .9..9..9"),
    "roll": (4.0, "snare 4.4.4.4.5.5.5.5.6.6.7.7.88889999"),
    "long roll": (4.0, "snare 3333444455556666777788889999"),
    "claps": (2.0, "clap 8.8.8888"),
    "chopped": (2.0, "snare 9..9.9.. / kick .9..9..9"),
    "timbales": (2.0, "timbale 89.89... / timbale2 ..8..898"),
    "congas": (2.0, "conga 8.88.... / conga2 ....8888"),
    "waltz toms": (3.0, "high 8..... / mid .78... / floor ....89"),
    "waltz snare": (2.0, "snare 5678"),
}
"""Beats from the end of a phrase, and what is played in them instead of the groove."""
