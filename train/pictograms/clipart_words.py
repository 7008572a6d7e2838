"""Words for Open Clip Art: what its labels may say beyond the words of the other sources, and what is left out."""

from __future__ import annotations

import re

TRANSLATED = {
    "az lizard": "lizard",
    "abeille": "bee", "acquila": "eagle", "aglio": "garlic", "al bar": "people at a bar", "albero": "tree",
    "ambulans": "ambulance", "ambulanza": "ambulance", "anatra": "duck", "anelli": "rings", "antilope": "antelope",
    "ape miele": "bee", "apple bitten": "bitten apple", "asse da stiro": "ironing board",
    "attaccapanni": "coat hanger", "autos": "cars", "b w tiger": "tiger", "baby tux": "baby penguin",
    "balloons aj": "balloons", "baloon": "balloon", "barattolo di pillole": "jar of pills",
    "betoniera": "cement mixer", "biberon": "baby bottle", "bicicletta cycle": "bicycle", "binocolo bn": "binoculars",
    "blocco notes": "notepad", "bluewhale md": "blue whale", "books aj svg": "books", "borsa estiva": "summer bag",
    "borsetta": "handbag", "bottiglia di vino pregiato": "bottle of wine", "bus bw": "bus", "bussola": "compass",
    "cacuts": "cactus", "calamita": "magnet", "calcolatrice": "calculator", "calzettoni": "socks",
    "camicia in seta": "shirt", "cammello": "camel", "candela": "candle", "canguro": "kangaroo", "carta": "paper",
    "casa in campagna": "house", "casa verde": "green house", "casco con microfono": "helmet with microphone",
    "cassa negozio": "cash register", "cassette video": "video cassette", "cavalletta": "grasshopper",
    "cavalletta francesco": "grasshopper", "cavallo": "horse", "cd": "compact disc",
    "cestino pieno": "full trash can", "cestino vuoto": "empty trash can", "cesto": "basket", "chateau": "castle",
    "chiave": "key", "cigni bianchi e neri": "white and black swans", "cigno": "swan", "cigno di spalle": "swan",
    "cinepresa": "film camera", "ciuccio": "pacifier", "clessidra": "hourglass", "coccinella": "ladybug",
    "coccinelle": "ladybug", "coccinellona": "ladybug", "coffe,tea": "coffee or tea", "coffee": "cup of coffee",
    "colombo": "pigeon", "color tiger": "tiger", "computer aj": "computer", "condominio": "apartment building",
    "coniglio": "rabbit", "contour bat": "chipmunk", "cormorant md": "cormorant", "corridore": "runner",
    "couronne": "crown", "cronometro": "stopwatch", "dente": "tooth", "dino": "dinosaur", "dinosauri": "dinosaurs",
    "dinosauro": "dinosaur", "donna incinta": "pregnant woman", "elefante": "elephant", "elefantone": "elephant",
    "envelop": "envelope", "fabbrica": "factory", "farfalla butterfly": "butterfly", "farfalla semplice": "butterfly",
    "farfalla stilizzata": "butterfly", "fata fatina": "fairy", "fattoria": "farm", "fern": "fern",
    "ferro da stiro": "iron", "fiocco": "bow", "fiore": "flower", "firestation": "fire station",
    "flamand": "flamingo", "flat cake": "cake", "foglie arancio": "orange leaves", "foglie marroni": "brown leaves",
    "foglie rosse": "red leaves", "foglie verdi": "green leaves", "formichina": "ant", "formicona": "ant",
    "fuoco da campeggio": "campfire", "gabbiano": "seagull", "gabbiano picco": "seagull",
    "gallo di profilo": "rooster", "gattina cat": "cat", "gatto cat": "cat", "gatto nero": "black cat",
    "gelato all'italiana": "ice cream", "gis computer": "computer", "glace": "ice cream",
    "glace italienne": "ice cream", "grape": "grapes", "grass hopper": "grasshopper", "gufo civetta": "owl",
    "heart ballons": "heart balloons", "hedge shear": "hedge shears", "help books aj svg": "books", "home": "house",
    "icecube": "ice cube", "imbianchino in": "painter", "insetto": "insect", "keyring": "key ring",
    "la prugna": "plum", "lampada di aladino": "magic lamp", "lana": "wool", "laserprinter": "laser printer",
    "lattine di birra": "beer cans", "lens, lente": "lens", "lente normale": "magnifying glass", "leone": "lion",
    "lettera": "letter", "libellula": "dragonfly", "libellule": "dragonfly", "lightbulb brightlit": "lit lightbulb",
    "lightbulb notlit": "unlit lightbulb", "livella": "spirit level", "longsword": "long sword",
    "lopper": "garden shears", "lotas": "lotus", "lucchetto grigio": "grey padlock",
    "lucchetto ottone": "brass padlock", "lucertola": "lizard", "lucertola arrotolata": "lizard",
    "lucertolona": "lizard", "lucertolone": "lizard", "lumaca": "snail", "lumaca turbo": "snail", "lã©zard": "lizard",
    "macchina fotografica digitale": "digital camera", "magnifing glass": "magnifying glass",
    "mante religieuse": "praying mantis", "mantide religiosa": "praying mantis", "manuscriot": "manuscript",
    "mazzo di fiori": "bunch of flowers", "metal cage": "cage", "microscopio": "microscope",
    "mix cucina, frullatore": "blender", "mm gun": "gun", "mondo": "world", "moschito": "mosquito",
    "mostriciattolo": "little monster", "motosega": "chainsaw", "mucca": "cow", "ninjastar": "ninja star",
    "olifant": "elephant", "orologio da parete": "wall clock", "orso": "bear", "ours": "bear", "pacco regalo": "gift",
    "packman": "pac man", "palloncini": "balloons", "pallone aerestatico": "hot air balloon", "palmtree": "palm tree",
    "pan cakes": "pancakes", "papera": "duck", "paperbag": "paper bag", "pasteque": "watermelon",
    "pattinatrice": "ice skater", "pecora": "sheep", "pecorella": "sheep", "pennello": "brush", "pennuto": "bird",
    "peperoncino pepper": "chilli pepper", "pera": "pear", "pesca": "peach", "pescetto": "fish",
    "pescetto arancione": "orange fish", "pesistica": "weightlifting", "phone": "telephone",
    "piggybank": "piggy bank", "pinguino": "penguin", "pinguino col piccolo": "penguin with baby",
    "pinzatrice rollandin": "stapler", "plush tux": "plush penguin", "pollo": "chicken",
    "poltrona ufficio": "office chair", "pomodori": "tomatoes", "portafoglio": "wallet", "principessa": "princess",
    "prugna": "plum", "puffin md": "puffin", "punaisa": "bug", "puntine": "thumbtacks",
    "quattro farfalle": "four butterflies", "ragazza bionda": "blonde girl", "ragazza bruna": "brown haired girl",
    "ragazza rossa": "red haired girl", "ragazzo": "boy", "ragnetto incazzato": "spider", "ragno figo": "spider",
    "ramarro": "green lizard", "rana": "frog", "ravanello": "radish", "recycling box d": "recycling box",
    "redcar": "red car", "rhinoceros d": "rhinoceros", "rondelle d'orange": "slice of orange",
    "rondelle orange": "slice of orange", "rosa": "rose", "ruota dentata": "gear",
    "sacco pelo per campeggio": "sleeping bag", "sandglass": "hourglass", "sandwich one": "sandwich",
    "sandwich one bw": "sandwich", "sapin": "fir tree", "scala doppia": "step ladder", "scatolone": "cardboard box",
    "scissors forbici": "scissors", "scorpion md v": "scorpion", "secchio e spugna": "bucket and sponge",
    "sedia in legno": "wooden chair", "sega per legno": "saw", "serratura": "lock", "sheep md v": "sheep",
    "siringa": "syringe", "soft drink icon": "soft drink", "spaventapasseri": "scarecrow", "sportcar": "sports car",
    "stambecco valdostano": "ibex", "stampante": "printer", "stappler": "stapler", "steak v": "steak",
    "stormo di uccelli": "flock of birds", "struzzo": "ostrich", "sub subacqueo": "scuba diver", "tacchino": "turkey",
    "tacchino di natale": "roast turkey", "tavolo in legno": "wooden table", "tavolozza": "palette",
    "tazza di caffe": "cup of coffee", "teddybear": "teddy bear", "teiera tazza": "teapot and cup",
    "telecamera": "video camera", "televisore telecomando": "remote control", "tenda da campeggio": "tent",
    "tie": "necktie", "tigre": "tiger", "topo": "mouse", "toro al tramonto": "bull at sunset", "torta": "cake",
    "trattore": "tractor", "tree whit fruits": "tree with fruits", "tux": "penguin",
    "uccello bianco e nero": "black and white bird", "uccello profilo": "bird", "utensile sega": "saw",
    "vacca pezzata rossa valdostana": "red and white cow", "valigie bags": "suitcases",
    "vavuum cleaner upright": "vacuum cleaner", "vestito rosa": "pink dress", "viti": "screws",
    "volleball net": "volleyball net", "volley ball": "volleyball", "vtt": "mountain bike",
    "woman reading": "woman reading", "wooden mallot": "wooden mallet", "zanzara": "mosquito", "zucca": "pumpkin",
}  # fmt: skip
"""Titles in other languages, misspelt or with the author's notes, as people would say them."""

EXTRA_WORDS = frozenset(
    """
    acorn acoustic adventurer aerobics african air airbrush aircraft aj analog analogue angelfish apartment apples
    arctic armadillo arrow baby backpacker bad bag bags ball ballerina balloon balloons balls bamboo barn baseball
    basket bathroom bathtub beach beagle beer bells berries bible biplane bird birds bishops bitten blackberry
    blender block blocks blonde blueberry board boombox bottled bow bowling box branch branches brass breakdance
    brown brush bucket building bulldog bunch bunny burger burner bus butter butterflies cabin cable cactus cage
    cake cakes calendar camper can candied candies canoe car cardboard cars carton cartoon cassette castle cattle
    cauldron celtic chain chainsaw chair cheeseburger chess chicken chipmunk chips chocolate christmas churn cigar
    clay clipboard clips coat cob coins colorful column compass computer cone cookies copper cork corks cormorant
    couch cow cowboy crawfish crayon crazy cup cupcakes cushion cute cutting daisy dancer dancers dartboard
    decorated deer desk diary dice dinner dinosaurs disc diver dolphin donuts double drawbridge drawers drawing
    dream drill driving drum drums eagle earring egg eggs elk empty engine eraser evergreen faces fairy feather
    fern filled film fish fishing flask flat flock flower flowers flute flying football fork freezer frog frogs
    fruit fruits frying full funny furnace gallows game garden gas gear gemstone geranium giraffe girl glass gloves
    goblet gold gramophone grand grandpa grapefruit grass grasshopper gray grey grill guitar gun haired halloween
    hamburger handbag handheld hang hanger hanging harp hat head headphones hearts hedge hiker hoe holding holly
    hook hot house houses hydrant ibex ice icicles insect iron ironing island jack jar jellies jigsaw joker
    joystick jug juice jukebox jumping katana kettle keyboard kids king kite knife knives knot koala ladder lamp
    landscape large lasagna laser leaf leash leaves lens letter lid light lighter lightsabers lily links lit little
    lizard locomotive lollipop long lotus lovely machine magic magnet magnolia manuscript map maple march
    marshmallow match matches measuring medicine mermaid microscope milk mitten modern monitor monster moped mortar
    mosquito motor mountain mouse muffin mug mushroom music napkin nest net night ninja notebook notepad nut oboe
    oil old onion open orchid owl pac pacifier package padlock paint painting palette palm pan pancakes paperback
    papers parchment party peaches peanut peas pelican pen pencils people piano pie pigeon piggy pills pine
    pineapple ping pipe pirate pitch plant plants plate platter player playing plum plush pocket pony popsicle
    portrait postage pot pots potted poultry praying printer projector pudding puffer puffin pumpkin punch purse
    puzzle queen rack racket radio rake razor reading record records red refrigerator remote reptile retriever ring
    rings roast robot rocket rocking roll roller rollerblades root rose router ruler runner running saddle sailboat
    sailboats salad salami sausages scalpel scanner school screen screw screwdriver screws scroll scrub scuba
    seahorse seal seated serve servers shark shears sheet ship shirt shoe shovel shrimp side silver single sink
    sitting skateboard ski skull sleeping slice sliced small smiling snowflake snowstorm soap socket socks sofa
    soft spade spider spirit sponge spoon sports spring square stack stamp staple stapler star stars step stick
    stool storm stove straw strawberries stump style suitcase suitcases summer sun sunflower sunglasses sunset
    surfboard swallow swan sword syringe table tall tank tape target tea team telephone telescope television tennis
    thermometer three thumbtack thumbtacks ticket tie tin toast toaster tomatoes tool tools toothbrush toothpaste
    torch towel tower toy tractor train trampoline transistor trap trawler tray treasure tree trees troll trombone
    trophy truck trumpet tulips tunnel turntable tv umbrella unlit usb vase vegetables video vintage vinyl violin
    wall wallet walnut washing watch watering wave wedding weight weightlifting wheat wheel wheelbarrow whistle
    wild wind window wine witch wizard wood wooden work worm wreath xylophone yacht yo-yo yoga young
    """.split()  # noqa: SIM905
)
"""English words that are fine in a label and that no other source uses."""

DROPPED_WORDS = frozenset(
    """
    abstract aktion alarm background blueprint border break button bw card cards clips contour crystal desktop
    diagram drop easter entry eyes faces female flag food frame gallows golf head hide highlight hole hurricane
    icon icons illustration jazz label labels liberty logo mad map mobile motorway movie natural nude out outline
    page pantihose pantyhose park parking pattern penny people pong ppl pregnant profile project propeller question
    reminder roadsign runner scene sexy sign signs silhouette sketch slate sole splatter sport stones stripper
    stylized symbol template test thing things thinking three-eyes tool tools various video virus weather wedding
    wild wing
    """.split()  # noqa: SIM905
)
"""A label with one of these names no picture that could be asked for."""

DROPPED_FILES = re.compile(
    r"_bw_|_b_w_|_bn_|_mateya_|contour|outline|silhouet|boating_rules|sailing_|knot_|chess/|clocks/.*_hand|/mouse_scroll|stars?_|recreation/games/.*dice_face"
)
"""Twins in black and white, outlines, diagrams, pictures on bar codes."""
