"""The table of names whose kind is known, in lower case. Any other name is unknown to `ovdiff.vocabulary.kinds`."""

STUFF_NAMES: frozenset[str] = frozenset(
    {
        "bedclothes", "blanket", "ceiling", "cloth", "curtain", "fence", "floor", "glass", "grass", "ground",
        "lake", "mountain", "platform", "road", "rock", "sidewalk", "sky", "snow", "step", "track",
        "trade name", "tray", "wall", "water", "wood",
    }
)  # fmt: skip
"""The names of the released code's table of stuff (A.9)."""

_ODD = {"earth", "field", "hill", "path", "river", "sand", "sea"}
"""Names that the released table counts as things although a person would call them stuff. They are things here too, so
that results compare with the released code's. A preset or a category may override them."""

_VOC = {
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "dining table", "dog",
    "horse", "motorbike", "person", "potted plant", "sheep", "sofa", "train", "tv monitor",
    "airplane", "monitor", "table",  # the released code's names for three of these categories (A.1)
}  # fmt: skip

_COCO = {
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow", "elephant",
    "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard",
    "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket", "bottle",
    "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich", "orange", "broccoli",
    "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant", "bed", "dining table", "toilet",
    "tv", "laptop", "mouse", "remote", "keyboard", "cell phone", "microwave", "oven", "toaster", "sink",
    "refrigerator", "book", "clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush",
}  # fmt: skip
"""All 80 names of COCO."""

_CONTEXT = {
    "bag", "bed", "bench", "book", "building", "cabinet", "computer", "cup", "door", "flower", "food", "keyboard",
    "light", "mouse", "plate", "shelves", "sign", "tree", "truck", "window",
}  # fmt: skip
"""The names among Pascal Context's 59 that are neither in the table of stuff nor in VOC."""

_ADE = {
    "animal", "arcade machine", "armchair", "awning", "ball", "bannister", "bar", "barrel", "base", "basket",
    "bathtub", "bookcase", "booth", "box", "bridge", "buffet", "bulletin board", "canopy", "chandelier",
    "chest of drawers", "coffee table", "column", "counter", "countertop", "cradle", "crt screen", "cushion", "desk",
    "dishwasher", "escalator", "fan", "fireplace", "flag", "fountain", "grandstand", "house", "kitchen island",
    "lamp", "minibike", "mirror", "ottoman", "painting", "palm", "pier", "pillow", "plant", "plaything", "pole",
    "pool table", "poster", "pot", "radiator", "railing", "rug", "sconce", "screen", "screen door", "sculpture",
    "seat", "shelf", "ship", "shower", "signboard", "skyscraper", "stage", "stairs", "stairway", "stool", "stove",
    "streetlight", "swivel chair", "television", "tent", "towel", "tower", "van", "wardrobe", "washer", "windowpane",
}  # fmt: skip
"""The names among ADE20K's 150 that are plainly countable, in ADE20K's spelling."""

_BY_TABLE_ALONE = {
    "apparel", "ashcan", "blind", "case", "conveyer belt", "dirt track", "hood", "hovel", "land", "runway",
    "swimming pool", "tank", "television receiver", "waterfall",
}  # fmt: skip
"""ADE20K's other names, which the released table counts as things. Some are ambiguous, and some a person would call
stuff. So they say nothing of a name that is near to them, and are not in :data:`COMPARED_NAMES`."""

THING_NAMES: frozenset[str] = frozenset(_VOC | _COCO | _CONTEXT | _ADE | _ODD | _BY_TABLE_ALONE) - STUFF_NAMES
"""The things of PASCAL VOC 2012, COCO, Pascal Context and ADE20K, and the odd things of the released table."""

COMPARED_NAMES: frozenset[str] = (STUFF_NAMES | THING_NAMES) - _BY_TABLE_ALONE
"""The names of which an unknown name may take the kind, because CLIP finds it most alike."""
