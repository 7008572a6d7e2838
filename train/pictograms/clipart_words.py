"""Words for Open Clip Art: what its labels may say beyond the words of the other sources, and what is left out."""

from __future__ import annotations

import re

TRANSLATED = {
    "abeille": "bee", "acquila": "eagle", "aglio": "garlic", "albero": "tree", "al bar": "people at a bar",
    "ambulans": "ambulance", "antilope": "antelope", "autos": "cars", "baby tux": "baby penguin", "bicicletta cycle": "bicycle",
    "apple bitten": "bitten apple", "barattolo di pillole": "jar of pills", "bluewhale md": "blue whale",
    "borsa estiva": "summer bag", "bottiglia di vino pregiato": "bottle of wine", "bussola": "compass",
    "cacuts": "cactus", "calamita": "magnet", "calcolatrice": "calculator", "camicia in seta": "shirt", "canguro": "kangaroo",
    "casa in campagna": "house", "casa verde": "green house", "cassa negozio": "cash register",
    "casco con microfono": "helmet with microphone", "cavalletta": "grasshopper", "cavallo": "horse", "cesto": "basket",
    "chateau": "castle", "chiave": "key", "cigni bianchi e neri": "white and black swans", "cigno": "swan",
    "cigno di spalle": "swan", "clessidra": "hourglass", "coccinella": "ladybug", "coccinelle": "ladybug",
    "coccinellona": "ladybug", "coniglio": "rabbit", "cormorant md": "cormorant", "couronne": "crown", "cronometro": "stopwatch",
    "dinosauro": "dinosaur", "dinosauri": "dinosaurs", "dino": "dinosaur", "donna incinta": "pregnant woman",
    "elefante": "elephant", "fabbrica": "factory", "farfalla butterfly": "butterfly", "farfalla semplice": "butterfly",
    "farfalla stilizzata": "butterfly", "ferro da stiro": "iron", "fiore": "flower", "firestation": "fire station",
    "formichina": "ant", "formicona": "ant", "fuoco da campeggio": "campfire", "gabbiano": "seagull",
    "gallo di profilo": "rooster", "gatto cat": "cat", "gatto nero": "black cat", "gattina cat": "cat", "glace": "ice cream",
    "glace italienne": "ice cream", "grass hopper": "grasshopper", "gufo civetta": "owl", "icecube": "ice cube", "insetto": "insect",
    "keyring": "key ring", "lampada di aladino": "magic lamp", "laserprinter": "laser printer", "lattine di birra": "beer cans",
    "lens, lente": "lens", "lente normale": "magnifying glass", "leone": "lion", "lettera": "letter", "libellula": "dragonfly",
    "libellule": "dragonfly", "livella": "spirit level", "lucchetto grigio": "grey padlock", "lucchetto ottone": "brass padlock",
    "lucertola": "lizard", "lucertolona": "lizard", "lucertolone": "lizard", "lucertola arrotolata": "lizard",
    "lumaca": "snail", "lumaca turbo": "snail", "magnifing glass": "magnifying glass", "mante religieuse": "praying mantis",
    "mantide religiosa": "praying mantis", "manuscriot": "manuscript", "mazzo di fiori": "bunch of flowers",
    "metal cage": "cage", "microscopio": "microscope", "mondo": "world", "moschito": "mosquito", "orologio da parete": "wall clock",
    "orso": "bear", "ours": "bear", "pacco regalo": "gift", "packman": "pac man", "palloncini": "balloons",
    "pallone aerestatico": "hot air balloon", "palmtree": "palm tree", "paperbag": "paper bag", "pasteque": "watermelon",
    "pecora": "sheep", "pennello": "brush", "pera": "pear", "pesca": "peach", "piggybank": "piggy bank", "pollo": "chicken",
    "poltrona ufficio": "office chair", "pomodori": "tomatoes", "portafoglio": "wallet", "puffin md": "puffin",
    "pinguino col piccolo": "penguin with baby", "ragno figo": "spider", "ragnetto incazzato": "spider", "rana": "frog",
    "ravanello": "radish", "redcar": "red car", "rondelle d'orange": "slice of orange", "rondelle orange": "slice of orange",
    "ruota dentata": "gear", "sandglass": "hourglass", "sapin": "fir tree", "secchio e spugna": "bucket and sponge",
    "sedia in legno": "wooden chair", "siringa": "syringe", "soft drink icon": "soft drink", "sportcar": "sports car",
    "stampante": "printer", "stormo di uccelli": "flock of birds", "tacchino": "turkey", "tavolo in legno": "wooden table",
    "tavolozza": "palette", "tazza di caffe": "cup of coffee", "teddybear": "teddy bear", "teiera tazza": "teapot and cup",
    "tenda da campeggio": "tent", "tigre": "tiger", "topo": "mouse", "torta": "cake", "trattore": "tractor", "tux": "penguin",
    "plush tux": "plush penguin", "uccello bianco e nero": "black and white bird", "uccello profilo": "bird", "utensile sega": "saw",
    "valigie bags": "suitcases", "vavuum cleaner upright": "vacuum cleaner", "viti": "screws", "vtt": "mountain bike",
    "volley ball": "volleyball", "volleball net": "volleyball net", "zanzara": "mosquito", "zucca": "pumpkin",
    "lã©zard": "lizard", "contour bat": "chipmunk", "toro al tramonto": "bull at sunset", "wooden mallot": "wooden mallet",
    "cavalletta francesco": "grasshopper", "ninjastar": "ninja star", "sacco pelo per campeggio": "sleeping bag",
    "lana": "wool", "puntine": "thumbtacks", "heart ballons": "heart balloons", "baloon": "balloon", "envelop": "envelope",
    "scissors forbici": "scissors", "pinzatrice rollandin": "stapler", "stappler": "stapler", "tree whit fruits": "tree with fruits",
    "carta": "paper", "cestino vuoto": "empty trash can", "cestino pieno": "full trash can", "dente": "tooth", "olifant": "elephant",
    "gis computer": "computer", "binocolo bn": "binoculars", "anelli": "rings", "mm gun": "gun", "fata fatina": "fairy",
    "coffe,tea": "coffee or tea", "prugna": "plum", "la prugna": "plum", "peperoncino pepper": "chilli pepper",
    "televisore telecomando": "remote control", "macchina fotografica digitale": "digital camera", "cinepresa": "film camera",
    "telecamera": "video camera", "lightbulb brightlit": "lit lightbulb", "lightbulb notlit": "unlit lightbulb",
    "fern": "fern", "bus bw": "bus", "sandwich one bw": "sandwich", "rhinoceros d": "rhinoceros", "recycling box d": "recycling box",
    "scorpion md v": "scorpion", "sheep md v": "sheep", "color tiger": "tiger", "b w tiger": "tiger",
    "books aj svg": "books", "help books aj svg": "books", "balloons aj": "balloons", "computer aj": "computer",
    "flamand": "flamingo", "mostriciattolo": "little monster", "punaisa": "bug", "gelato all'italiana": "ice cream",
    "various cliparts": "", "lotas": "lotus", "pattinatrice": "ice skater", "sub subacqueo": "scuba diver",
    "stambecco valdostano": "ibex", "vacca pezzata rossa valdostana": "red and white cow", "quattro farfalle": "four butterflies",
    "pescetto arancione": "orange fish", "ramarro": "green lizard", "mix cucina, frullatore": "blender",
    "lopper": "garden shears", "hedge shear": "hedge shears", "longsword": "long sword", "woman reading": "woman reading",
}  # fmt: skip
"""Titles in other languages, misspelt or with the author's notes, as people would say them."""

EXTRA_WORDS = frozenset(
    """
    acorn acoustic adventurer aerobics african air airbrush aircraft analog analogue angelfish apples arctic armadillo arrow
    baby backpacker bad bag bags ball ballerina balloons balls balloon bamboo barn basket baseball beach beagle beer bells
    bible biplane bird birds bishops bitten blackberry blender block blocks blueberry board boombox bottled bowling box branch
    branches brass breakdance brush bucket building bulldog bunch bunny burger burner bus butter butterflies cabin cable cactus
    cage cake cakes calendar camper can candied candies canoe car cardboard cars carton cartoon cassette castle cattle
    cauldron celtic chair cheeseburger chess chicken chipmunk chips chocolate christmas churn cigar clay clipboard clips cob
    coins colorful column compass computer cookies copper cork corks cormorant couch cow cowboy crawfish crayon crazy cup cute
    cupcakes cushion cutting daisy dancer dancers dartboard decorated deer desk diary dice dinner dinosaurs diver
    dolphin donuts double drawing drawers dream drill driving drum drums eagle earring egg eggs elk empty engine eraser
    evergreen faces fairy feather fern filled film fish fishing flask flat flock flower flowers flute flying football fork
    frog frogs fruits frying full funny furnace game garden gas gear gemstone geranium giraffe girl glass gloves goblet
    gold grand grapefruit gramophone grass grasshopper gray grey grill guitar gun halloween hamburger handheld hang
    hanging harp hat head headphones hearts hedge hiker hoe holding hook hot house houses hydrant ibex ice icicles
    insect iron ironing island jack jar jellies jigsaw joker joystick jug juice jukebox jumping katana keyboard kettle
    kids king kite knife knot knives koala ladder lamp landscape large laser lasagna leaf leaves leash lens letter lid light
    lighter lily lit little lizard locomotive lollipop long lotus lovely machine magic magnet magnolia manuscript map march
    marshmallow maple match matches measuring medicine microscope milk mitten modern monitor monster moped mortar mosquito
    motor mountain mouse muffin mug mushroom music napkin nest net night ninja notebook nut oboe oil old onion open orchid
    owl pac package padlock paint painting palette palm pan papers parchment paperback party peaches peas pen pencils people
    piano pie piggy pills pine pineapple ping pipe pirate pitch plant plants plate platter player playing plum plush pocket
    pony popsicle portrait postage pot potted poultry praying printer projector pudding puffin pumpkin purse
    puzzle queen rack racket radio rake razor reading record records red remote reptile retriever ring rings roast robot
    rocket rocking roll roller rollerblades root rose router ruler running runner saddle sailboat sailboats salami salad sausages
    scalpel scanner school screen screw screwdriver screws scroll scrub scuba seahorse seal seated servers shark shears
    sheet ship shirt shoe shovel shrimp side silver single sitting skateboard ski skull sleeping slice sliced small smiling
    snowflake soap socket sofa soft spade spider spirit sponge spoon sports spring square stack stamp staple stapler star stars
    stick stool storm stove straw strawberries stump style suitcase suitcases summer sun sunflower sunset sunglasses surfboard
    swan sword syringe table tall tank tape target tea team telephone television telescope tennis thermometer three
    thumbtack thumbtacks ticket tie tin toast toaster tomatoes tool tools toothbrush toothpaste torch towel tower
    toy tractor train trampoline transistor trap tray treasure tree trees trombone trophy truck trumpet tulips turntable tv
    umbrella unlit usb vase vegetables video vintage vinyl violin wall wallet walnut washing watch watering wave wedding
    weight wheat wheel wheelbarrow whistle wild wind window wine witch wizard wood wooden work worm wreath xylophone yacht yoga
    yo-yo young tunnel drawbridge trawler gallows puffer pelican swallow snowstorm lightsabers
    aj peanut grandpa mermaid troll
    """.split()  # noqa: SIM905
)
"""English words that are fine in a label and that no other source uses."""

DROPPED_WORDS = frozenset(
    """
    silhouette outline contour bw blueprint border icon icons logo symbol label labels sign signs pattern flag button
    template diagram map scene page project stylized sketch profile highlight abstract test background frame card cards
    roadsign illustration sexy nude stripper gallows pantyhose pantihose
    """.split()  # noqa: SIM905
)
"""A label with one of these names no picture that could be asked for."""

DROPPED_FILES = re.compile(r"_bw_|_b_w_|_bn_|contour|outline|silhouet|boating_rules|sailing_|knot_|chess/|clocks/.*_hand")
